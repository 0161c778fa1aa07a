"""Checks of single values of a request, each with its own sentence."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic_core import PydanticCustomError

from expunge.errors import ConfigError
from expunge.registry import AUTO, list_registered_names
from expunge.request.time_limit import parse_time_limit

PYTHON_PATH_PATTERN = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
PICKLE_SUFFIXES = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".tar"}


def validation_error(expected: str, found: str, hint: str, key: str | None = None) -> PydanticCustomError:
    """Return the error that ``sentences`` turns into a ``ConfigError``."""
    return PydanticCustomError(
        "refused", "{expected}", {"expected": expected, "found": found, "cure": hint, "key": key}
    )


def format_value(value: Any) -> str:
    """Return a value as it reads in a sentence.

    Examples:
        >>> format_value("many"), format_value(True), format_value(None), format_value([1])
        ("'many'", 'true', 'nothing', 'a list')
    """
    if isinstance(value, (str, Path)):
        text = str(value)
        return f"'{text}'" if len(text) <= 40 else f"'{text[:40]}…'"
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    return "nothing" if value is None else yaml_repr(value)


def yaml_repr(value: Any) -> str:
    """Return a single value as YAML spells it."""
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def suggest(name: str, known_names: list[str], fallback: str) -> str:
    """Return a cure that names the nearest of ``known_names``, or ``fallback`` if none is near."""
    matches = difflib.get_close_matches(name.replace("-", "_").lower(), known_names, n=1)
    return f"did you mean '{matches[0]}'" if matches else fallback


def make_name_validator(kind: str | None, *prefixes: str, extra_names: tuple[str, ...] = ()) -> Callable[[str], str]:
    """Return a check of names of one kind."""

    def check(value: str) -> str:
        if kind is None or ":" in value:
            return validate_python_path(value)
        if "/" in value:
            return validate_prefixed_name(value, kind, prefixes)
        names = (*extra_names, *list_registered_names(kind))
        if value.replace("-", "_").lower() in names:
            return value
        hint = suggest(value, list(names), f"`expunge list {kind}` shows all")
        raise validation_error(f"one of the {kind} ({', '.join(names)})", f"'{value}'", hint)

    return check


def validate_method_name(value: str) -> str:
    """Check the name of a method, alone or at the head of a composition such as ``eupmu + lenient(delta=0.1)``.

    The rest of a composition is read when the methods are at hand. ``auto`` is no part of one.
    """
    head = re.match(r"\s*(\w+)\s*[(+]", value)
    if head is None or value.replace("-", "_").lower() in list_registered_names("methods"):
        name = make_name_validator("methods", extra_names=(AUTO,))(value)
        return AUTO if name.lower() == AUTO else name
    make_name_validator("methods")(head.group(1))
    return value


def validate_time_limit(value: Any) -> str | float:
    """Return how long ``auto`` may take, or refuse what is no time."""
    expected, hint = "seconds, or a time such as 90s, 10min or 2h", "write for example `time_limit: 10min`"
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise validation_error(expected, format_value(value), hint)
    try:
        parse_time_limit(value)
    except ConfigError:
        raise validation_error(expected, format_value(value), hint) from None
    return value


def validate_python_path(value: str) -> str:
    """Return a path of the form ``package.module:name``, or refuse it."""
    if not PYTHON_PATH_PATTERN.fullmatch(value):
        raise validation_error(
            "a Python path of the form package.module:name", f"'{value}'", "put a colon before the last name"
        )
    return value


def validate_prefixed_name(value: str, kind: str, prefixes: tuple[str, ...]) -> str:
    """Return a name that another library knows, or refuse it."""
    if not any(value.startswith(prefix) and len(value) > len(prefix) for prefix in prefixes):
        forms = [*(f"{prefix}NAME" for prefix in prefixes), "package.module:name"]
        hint = f"`expunge list {kind}` shows the built-in names"
        raise validation_error(f"a built-in name or {' or '.join(forms)}", f"'{value}'", hint)
    return value


def validate_device(value: str) -> str:
    """Return the name of a device, whether or not this machine has it."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
        raise validation_error("one of auto, cpu, cuda, cuda:N, mps", f"'{value}'", "auto takes the best there is")
    return value


def validate_class(value: Any) -> Any:
    """Return a class's number or name, or refuse what is neither; without a value it is not given."""
    if value is None or (isinstance(value, (int, str)) and not isinstance(value, bool) and value != ""):
        return value
    raise validation_error(
        "the number or the name of a class", format_value(value), "put a name that YAML reads otherwise in quotes"
    )


def validate_safetensors_path(path: Path) -> Path:
    """Return the path of a weights file that is not pickled, by its name."""
    if path.suffix.lower() in PICKLE_SUFFIXES:
        hint = f"run `expunge convert {path} {path.with_suffix('.safetensors')}` and name the result"
        raise validation_error("weights as safetensors", f"'{path.name}', which may be pickled", hint)
    return path
