import pytest


@pytest.fixture(autouse=True)
def no_installed_data(tmp_path_factory, monkeypatch):
    """Keep every test away from the cache and the data folder of whoever runs it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("EXPUNGE_DATA", raising=False)
