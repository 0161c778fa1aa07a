"""Which code decides an outcome: a hash of this package's own sources, and of the modules that a user's objects are of.

A version number says nothing of an installation that is worked on, and of a user's own method there is none.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Any

import expunge

MOST_FILES = 2_000
"""Most modules of a user's package that are hashed; of a larger one the module alone is."""
SHOWING = frozenset({"cli", "report", "demo", "benchmark", "trackers", "testing"})
"""Rooms of the package that no model and no figure comes from."""
_DEPTH = 6
"""How deep settings of settings are looked into."""
_LIBRARIES = frozenset({"expunge", "torch", "torchvision", "numpy", "diffusers", "transformers", "timm", "peft"})
"""Their code is known by their versions."""


def code_version() -> dict[str, str]:
    """Return which code of this package computes: its version, and a hash of its sources.

    Examples:
        >>> sorted(code_version())
        ['code', 'expunge']
    """
    return {"expunge": expunge.__version__, "code": package_hash()}


@cache
def package_hash(*also: str) -> str:
    """Return 32 hex digits over every module of the package that decides an outcome.

    Args:
        also: Rooms that count too.
    """
    root = Path(expunge.__file__).parent
    return hash_of_files(
        (path.relative_to(root).as_posix(), path)
        for path in sorted(root.rglob("*.py"))
        if path.relative_to(root).parts[0] not in SHOWING - {*also} and path != root / "__init__.py"
    )


def own_sources(*values: Any) -> dict[str, str]:
    """Return the modules from outside this package that some objects, their settings and their classes are of.

    What a module imports is not looked at, nor are well-known libraries, nor the script or notebook that is run itself:
    that is worked on all the time.

    Args:
        values: Objects, classes or functions.

    Returns:
        Name of the module → 32 hex digits of its source, empty where it has none.

    Examples:
        >>> own_sources({"rate": 0.1})
        {}
    """
    modules: set[str] = set()
    for value in values:
        _collect(value, modules, _DEPTH)
    return {name: source_hash(name) for name in sorted(modules - {"__main__"})}


def source_hash(name: str) -> str:
    """Return 32 hex digits over the source of a module that is imported; empty where it has no file.

    Of a module in a package it is the whole package with its version, so that what it imports from there counts too.
    """
    first = name.partition(".")[0]
    package, version = _file_of(first), ""
    with suppress(PackageNotFoundError):
        version = distribution_version(first)
    files = [] if package is None or package.name != "__init__.py" else sorted(package.parent.rglob("*.py"))
    if not files or len(files) > MOST_FILES:
        own = _file_of(name)
        files = [] if own is None else [own]
    named = [(f"{version} {path.name}", path) for path in files]
    return hash_of_files(named) if named else ""


def _file_of(name: str) -> Path | None:
    path = getattr(sys.modules.get(name), "__file__", None)
    return Path(path) if path is not None and Path(path).is_file() else None


def hash_of_files(files: Iterable[tuple[str, Path]]) -> str:
    """Return 32 hex digits over names and contents of files."""
    found = hashlib.sha256()
    for name, path in files:
        content = path.read_bytes()
        found.update(f"{name} {len(content)}\0".encode())
        found.update(content)
    return found.hexdigest()[:32]


def _collect(value: Any, modules: set[str], depth: int) -> None:
    if value is None or isinstance(value, str | bytes | int | float | complex) or depth == 0:
        return
    if isinstance(value, dict):
        for one in value.values():
            _collect(one, modules, depth - 1)
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            _collect(one, modules, depth - 1)
    elif inspect.isclass(value) or inspect.isroutine(value):
        named = value.__mro__ if inspect.isclass(value) else (value,)
        modules.update(name for one in named if (name := getattr(one, "__module__", None)) and not _is_known(name))
    else:
        _collect(type(value), modules, depth)
        own = {} if _is_known(type(value).__module__) and not _has_settings(value) else getattr(value, "__dict__", {})
        _collect(dict(own), modules, depth - 1)


def _has_settings(value: Any) -> bool:
    """Return whether an object of a library may hold objects of a user's."""
    return type(value).__module__.partition(".")[0] == "expunge"


def _is_known(module: str) -> bool:
    """Return whether a module is of a library that is known by its version, or of the language."""
    first = module.partition(".")[0]
    return first in _LIBRARIES or first in sys.stdlib_module_names
