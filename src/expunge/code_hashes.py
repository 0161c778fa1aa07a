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

MAX_PACKAGE_FILES = 2_000
"""Most modules of a user's package that are hashed; of a larger one the module alone is."""
OUTPUT_PACKAGES = frozenset({"cli", "report", "demo", "benchmark", "loggers", "testing"})
"""Rooms of the package that no model and no figure comes from."""
_MAX_DEPTH = 6
"""How deep settings of settings are looked into."""
_LIBRARIES = frozenset({"expunge", "torch", "torchvision", "numpy", "diffusers", "transformers", "timm", "peft"})
"""Their code is known by their versions."""


def code_version() -> dict[str, str]:
    """Return which code of this package computes: its version, and a hash of its sources.

    Examples:
        >>> sorted(code_version())
        ['code', 'expunge']
    """
    return {"expunge": expunge.__version__, "code": hash_package()}


@cache
def hash_package(*extra_packages: str) -> str:
    """Return 32 hex digits over every module of the package that decides an outcome."""
    root = Path(expunge.__file__).parent
    return hash_files(
        (path.relative_to(root).as_posix(), path)
        for path in sorted(root.rglob("*.py"))
        if path.relative_to(root).parts[0] not in OUTPUT_PACKAGES - {*extra_packages} and path != root / "__init__.py"
    )


def hash_user_sources(*values: Any) -> dict[str, str]:
    """Return the modules from outside this package that some objects, their settings and their classes are of.

    What a module imports is not looked at, nor are well-known libraries, nor the script or notebook that is run itself:
    that is worked on all the time.

    Examples:
        >>> hash_user_sources({"lr": 0.1})
        {}
    """
    modules: set[str] = set()
    for value in values:
        _collect_modules(value, modules, _MAX_DEPTH)
    return {name: hash_source(name) for name in sorted(modules - {"__main__"})}


def hash_source(name: str) -> str:
    """Return 32 hex digits over the source of a module that is imported; empty where it has no file.

    Of a module in a package it is the whole package with its version, so that what it imports from there counts too.
    """
    first = name.partition(".")[0]
    package, version = _module_file(first), ""
    with suppress(PackageNotFoundError):
        version = distribution_version(first)
    files = [] if package is None or package.name != "__init__.py" else sorted(package.parent.rglob("*.py"))
    if not files or len(files) > MAX_PACKAGE_FILES:
        module_file = _module_file(name)
        files = [] if module_file is None else [module_file]
    named = [(f"{version} {path.name}", path) for path in files]
    return hash_files(named) if named else ""


def _module_file(name: str) -> Path | None:
    path = getattr(sys.modules.get(name), "__file__", None)
    return Path(path) if path is not None and Path(path).is_file() else None


def hash_files(files: Iterable[tuple[str, Path]]) -> str:
    """Return 32 hex digits over names and contents of files."""
    digest = hashlib.sha256()
    for name, path in files:
        content = path.read_bytes()
        digest.update(f"{name} {len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:32]


def _collect_modules(value: Any, modules: set[str], depth: int) -> None:
    if value is None or isinstance(value, str | bytes | int | float | complex) or depth == 0:
        return
    if isinstance(value, dict):
        for one in value.values():
            _collect_modules(one, modules, depth - 1)
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            _collect_modules(one, modules, depth - 1)
    elif inspect.isclass(value) or inspect.isroutine(value):
        named = value.__mro__ if inspect.isclass(value) else (value,)
        modules.update(name for one in named if (name := getattr(one, "__module__", None)) and not _is_library(name))
    else:
        _collect_modules(type(value), modules, depth)
        attributes = (
            {}
            if _is_library(type(value).__module__) and not _is_expunge_object(value)
            else getattr(value, "__dict__", {})
        )
        _collect_modules(dict(attributes), modules, depth - 1)


def _is_expunge_object(value: Any) -> bool:
    """Return whether an object of a library may hold objects of a user's."""
    return type(value).__module__.partition(".")[0] == "expunge"


def _is_library(module: str) -> bool:
    """Return whether a module is of a library that is known by its version, or of the language."""
    first = module.partition(".")[0]
    return first in _LIBRARIES or first in sys.stdlib_module_names
