"""Python paths: ``package.module:name``, how requests name the user's own code."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from operator import attrgetter
from types import ModuleType
from typing import Any

from expunge.errors import ConfigError


def import_object(path: str) -> Any:
    """Return what a Python path names.

    The current folder is put first on ``sys.path`` and stays there, as under ``python -m``, so that the user's module
    may import its neighbors later.

    Examples:
        >>> import_object("math:tau") / import_object("math:pi")
        2.0
    """
    module, colon, name = path.partition(":")
    if not (colon and module and name):
        raise ConfigError("a Python path like 'package.module:name'", f"'{path}'", "put a colon before the name")
    try:
        return attrgetter(name)(_import_module(module))
    except AttributeError as error:
        hint = "check the name's spelling and that the module defines it"
        raise ConfigError(f"'{name}' in the module '{module}'", "no such name", hint) from error


def _import_module(module: str) -> ModuleType:
    working_dir = os.getcwd()
    if working_dir not in sys.path and "" not in sys.path:
        sys.path.insert(0, working_dir)
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        hint = "run from the folder that holds it, or install it"
        raise ConfigError(f"a Python module '{module}'", f"that '{error.name}' is not there", hint) from error
    except Exception as error:
        actual = f"{type(error).__name__} ({str(error) or 'no message'})"
        raise ConfigError(f"to import '{module}'", actual, "mend the module; it must import by itself") from error
