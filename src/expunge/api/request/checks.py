"""Checks of single values of a request, each with its own sentence."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic_core import PydanticCustomError

from expunge.api.request.names import AUTO, registered_names
from expunge.api.request.time_limit import seconds_of
from expunge.errors import ConfigError

PYTHON_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
PICKLED = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".tar"}


def refuse(expected: str, found: str, cure: str, key: str | None = None) -> PydanticCustomError:
    """Return the error that ``sentences`` turns into a ``ConfigError``.

    Args:
        expected: What would have been right.
        found: What was there.
        cure: What to do.
        key: The key inside the checked section that is to blame, if it is not the section as a whole.
    """
    return PydanticCustomError(
        "refused", "{expected}", {"expected": expected, "found": found, "cure": cure, "key": key}
    )


def shown(value: Any) -> str:
    """Return a value as it reads in a sentence.

    Examples:
        >>> shown("many"), shown(True), shown(None), shown([1])
        ("'many'", 'true', 'nothing', 'a list')
    """
    if isinstance(value, (str, Path)):
        text = str(value)
        return f"'{text}'" if len(text) <= 40 else f"'{text[:40]}…'"
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    return "nothing" if value is None else spelled(value)


def spelled(value: Any) -> str:
    """Return a single value as YAML spells it."""
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def offer(wrong: str, right: list[str], otherwise: str) -> str:
    """Return a cure that names the nearest of ``right``, or ``otherwise`` if none is near."""
    near = difflib.get_close_matches(wrong.replace("-", "_").lower(), right, n=1)
    return f"did you mean '{near[0]}'" if near else otherwise


def a_name(kind: str | None, *prefixes: str, more: tuple[str, ...] = ()) -> Callable[[str], str]:
    """Return a check of names of one kind.

    Args:
        kind: One of the kinds of the registry; None if only ``package.module:name`` will do.
        prefixes: Beginnings such as ``"timm/"`` of names that other libraries know.
        more: Names that are right too.
    """

    def check(value: str) -> str:
        if kind is None or ":" in value:
            return python_path(value)
        if "/" in value:
            return prefixed(value, kind, prefixes)
        names = (*more, *registered_names(kind))
        if value.replace("-", "_").lower() in names:
            return value
        cure = offer(value, list(names), f"`expunge list {kind}` shows all")
        raise refuse(f"one of the {kind} ({', '.join(names)})", f"'{value}'", cure)

    return check


def a_method(value: str) -> str:
    """Check the name of a method, alone or at the head of a composition such as ``eupmu + lenient(delta=0.1)``.

    The rest of a composition is read when the methods are at hand. ``auto`` is no part of one.
    """
    head = re.match(r"\s*(\w+)\s*[(+]", value)
    if head is None or value.replace("-", "_").lower() in registered_names("methods"):
        found = a_name("methods", more=(AUTO,))(value)
        return AUTO if found.lower() == AUTO else found
    a_name("methods")(head.group(1))
    return value


def a_time_limit(value: Any) -> str | float:
    """Return how long ``auto`` may take, or refuse what is no time."""
    expected, cure = "seconds, or a time such as 90s, 10min or 2h", "write for example `within: 10min`"
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise refuse(expected, shown(value), cure)
    try:
        seconds_of(value)
    except ConfigError:
        raise refuse(expected, shown(value), cure) from None
    return value


def python_path(value: str) -> str:
    """Return a path of the form ``package.module:name``, or refuse it."""
    if not PYTHON_PATH.fullmatch(value):
        raise refuse("a Python path of the form package.module:name", f"'{value}'", "put a colon before the last name")
    return value


def prefixed(value: str, kind: str, prefixes: tuple[str, ...]) -> str:
    """Return a name that another library knows, or refuse it."""
    if not any(value.startswith(prefix) and len(value) > len(prefix) for prefix in prefixes):
        forms = [*(f"{prefix}NAME" for prefix in prefixes), "package.module:name"]
        cure = f"`expunge list {kind}` shows the built-in names"
        raise refuse(f"a built-in name or {' or '.join(forms)}", f"'{value}'", cure)
    return value


def a_device(value: str) -> str:
    """Return the name of a device, whether or not this machine has it."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
        raise refuse("one of auto, cpu, cuda, cuda:N, mps", f"'{value}'", "auto takes the best there is")
    return value


def whole_or_text(value: Any) -> Any:
    """Return a class's number or name, or refuse what is neither; without a value it is not given."""
    if value is None or (isinstance(value, (int, str)) and not isinstance(value, bool) and value != ""):
        return value
    raise refuse("the number or the name of a class", shown(value), "put a name that YAML reads otherwise in quotes")


def safetensors(path: Path) -> Path:
    """Return the path of a weights file that is not pickled, by its name."""
    if path.suffix.lower() in PICKLED:
        cure = f"run `expunge convert {path} {path.with_suffix('.safetensors')}` and name the result"
        raise refuse("weights as safetensors", f"'{path.name}', which may be pickled", cure)
    return path
