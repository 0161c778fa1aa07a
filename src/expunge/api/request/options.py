"""A request that is written as options of a command, read by the same checks as one in a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ValidationError

from expunge.api.request.config import RunConfig
from expunge.api.request.document import Document, value_of
from expunge.api.request.sentences import sentence

PAIRS = re.compile(r"\s*\w+=")


class Options(Document):
    """Options of a command; the place of a setting is the option's name."""

    base: ClassVar[str] = "the current folder"

    def where(self, *keys: str | int) -> str:
        """Return ``"--forget"`` for a setting under ``forget``; the original's weights are the first argument."""
        if not keys:
            return "the options"
        return "ORIGINAL" if keys[0] == "checkpoint" else f"--{keys[0]}"


def request_from(options: Mapping[str, str | None], paths: Mapping[str, Path | None]) -> RunConfig:
    """Return the request that options make; relative paths count from the current folder.

    Args:
        options: Key of the request file → its value as YAML or as ``key=value`` pairs with commas between them; None is
            an option that was not given.
        paths: Key → path.

    Raises:
        ConfigError: With the option that is wrong, and the cure.

    Examples:
        >>> options = {"model": "package.module:factory", "data": "digits", "forget": "class=3"}
        >>> request_from(options, {}).forget.class_
        3
    """
    given = {key: read(key, text) for key, text in options.items() if text is not None}
    given |= {key: str(path) for key, path in paths.items() if path is not None}
    document = Options(Path("options"), given, {})
    try:
        config = RunConfig.model_validate(given, context={"folder": Path()})
    except ValidationError as error:
        raise sentence(error, document, RunConfig) from None
    config.read_from(document)
    return config


def read(key: str, text: str) -> Any:
    """Return the value of an option.

    Examples:
        >>> read("forget", "fraction=0.1,seed=2"), read("model", "{name: small_cnn, options: {width: 4}}")
        ({'fraction': 0.1, 'seed': 2}, {'name': 'small_cnn', 'options': {'width': 4}})
    """
    if not PAIRS.match(text):
        return value_of(text, f"--{key}")
    pairs = (pair.partition("=") for pair in text.split(","))
    return {name.strip(): value_of(value, f"--{key}") for name, _, value in pairs}
