"""A request that is written as options of a command, read by the same checks as one in a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ValidationError

from expunge.request.document import RequestDocument, parse_value
from expunge.request.model_request import ModelRequest
from expunge.request.validation_errors import translate_validation_error

KEY_VALUE_PATTERN = re.compile(r"\s*\w+=")


class OptionsDocument(RequestDocument):
    """Options of a command; the place of a setting is the option's name."""

    base_description: ClassVar[str] = "the current folder"

    def where(self, *keys: str | int) -> str:
        """Return ``"--forget"`` for a setting under ``forget``; the original's weights are the first argument."""
        if not keys:
            return "the options"
        return "ORIGINAL" if keys[0] == "checkpoint" else f"--{keys[0]}"


def parse_request_options(options: Mapping[str, str | None], paths: Mapping[str, Path | None]) -> ModelRequest:
    """Return the request that options make; relative paths count from the current folder.

    Examples:
        >>> options = {"model": "package.module:factory", "data": "digits", "forget": "class=3"}
        >>> parse_request_options(options, {}).forget.class_
        3
    """
    values = {key: parse_option(key, text) for key, text in options.items() if text is not None}
    values |= {key: str(path) for key, path in paths.items() if path is not None}
    document = OptionsDocument(Path("options"), values, {})
    try:
        config = ModelRequest.model_validate(values, context={"folder": Path()})
    except ValidationError as error:
        raise translate_validation_error(error, document, ModelRequest) from None
    config.attach_document(document)
    return config


def parse_option(key: str, text: str) -> Any:
    """Return the value of an option.

    Examples:
        >>> parse_option("forget", "fraction=0.1,seed=2")
        {'fraction': 0.1, 'seed': 2}
        >>> parse_option("model", "{name: small_cnn, options: {width: 4}}")
        {'name': 'small_cnn', 'options': {'width': 4}}
    """
    if not KEY_VALUE_PATTERN.match(text):
        return parse_value(text, f"--{key}")
    pairs = (pair.partition("=") for pair in text.split(","))
    return {name.strip(): parse_value(value, f"--{key}") for name, _, value in pairs}
