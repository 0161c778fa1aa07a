"""A folder with a trained checkpoint and a user's own module, and a key that is the tests' own."""

import sys

import pytest
from small_requests import HELD_OUT, OWN, config

from expunge.api import train_request

TRAIN = "{epochs: 4, batch_size: 20, lr: 0.1}"


@pytest.fixture(autouse=True)
def key_file(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("EXPUNGE_KEY_FILE", str(tmp_path_factory.getbasetemp() / "key"))


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    """Weights of the small network, trained once."""
    return train_request(config(tmp_path_factory.mktemp("original"), train=TRAIN))


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Weights that know most of the digits of a request with held-out ones."""
    place = tmp_path_factory.mktemp("trained")
    return train_request(config(place, **HELD_OUT, train="{epochs: 10, batch_size: 20, lr: 0.1}"))


@pytest.fixture
def folder(tmp_path, original, monkeypatch):
    """A folder that a user works in."""
    place = tmp_path / "work"
    place.mkdir()
    (place / "original.safetensors").write_bytes(original.read_bytes())
    (place / "mine.py").write_text(OWN)
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    yield place
    sys.modules.pop("mine", None)
