"""A run folder whose ``config.json`` is no request: the run is not gone on with, and says so in one sentence."""

import pytest

from expunge.api.folder import check_same_config
from expunge.errors import ConfigError


@pytest.mark.parametrize("text", ["[1]", "null", '"x"', "3", "", "{", "[" * 100_000])
def test_it_is_another_request(text, tmp_path):
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"another seed.*--overwrite"):
        check_same_config(file, {"seed": 0})
