"""Which names in its folder a run makes and removes, and that nothing of the user's is under one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from expunge.api.folder import ORIGINAL, SAVEPOINTS, SHADOWS, WRITTEN, check_name_room
from expunge.api.reading import located
from expunge.api.request.config import AnyConfig
from expunge.api.request.request_file import UNLEARNED_FOLDER
from expunge.errors import ConfigError
from expunge.weights.lock import LOCK

OWN_FOLDERS = (SAVEPOINTS, SHADOWS, UNLEARNED_FOLDER)
"""Folders in a run folder that are emptied or replaced."""
_PLACES = ("out", "environment")


def check_paths(config: AnyConfig, data_dir: Path | None = None) -> None:
    """Refuse a request that names something which its own run would write over or remove.

    Args:
        config: The request. Every path in it is looked at, whatever it is for.
        data_dir: Folder of the data, where the command names one.

    Raises:
        ConfigError: With the line of the path.
    """
    for keys, path in paths_in(config):
        if keys == ("checkpoint",) and not path.exists():  # the run trains it
            with located(config, *keys):
                check_name_room(path)
        name = own_name(config.out, path, whole=keys[-1] == "dir")
        if name is None or (name == ORIGINAL and keys == ("checkpoint",)):
            continue
        with located(config, *keys):
            cure = "keep it elsewhere, or choose another folder with out (--out)"
            raise ConfigError("a path that the run does not write over", f"'{path}' under {name}", cure)
    if data_dir is not None and own_name(config.out, data_dir, whole=True) is not None:
        cure = "choose another folder with out (--out)"
        raise ConfigError("a run folder apart from the data", f"'{data_dir}'", cure, config.where("out"))


def own_name(out: Path, path: Path, whole: bool = False) -> str | None:
    """Return what a run in ``out`` would write over or remove if something of the user's were at ``path``; else None.

    Args:
        out: The run folder.
        path: The user's.
        whole: Whether it is a folder of files, so that the run folder itself is none for it.

    Examples:
        >>> own_name(Path("run"), Path("run/savepoints/ledger.sqlite"))
        "the run's own 'savepoints'"
        >>> own_name(Path("run"), Path("ledger.sqlite")), own_name(Path("run"), Path("run/ledger.sqlite"))
        (None, None)
    """
    for place in {path.absolute(), _resolved(path)}:
        for folder in {out.absolute(), _resolved(out)}:
            if place == folder:
                return "the run folder itself" if whole else None
            if not place.is_relative_to(folder):
                continue
            name, *below = place.relative_to(folder).parts
            if name == ORIGINAL and not below:
                return ORIGINAL
            if name in OWN_FOLDERS or (not below and name in (*WRITTEN, LOCK)):
                return f"the run's own '{name}'"
    return None


def paths_in(part: BaseModel, *keys: str) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Yield every path that a request names, with the keys that lead to it."""
    for name, field in type(part).model_fields.items():
        value, key = getattr(part, name), field.alias or name
        if not keys and key in _PLACES:
            continue
        yield from _paths(value, *keys, key)


def _paths(value: Any, *keys: str) -> Iterator[tuple[tuple[str, ...], Path]]:
    if isinstance(value, Path):
        yield keys, value
    elif keys == ("model",) and isinstance(value, str) and Path(value).is_absolute():
        yield keys, Path(value)  # a folder, where a name on the hub would do too
    elif isinstance(value, BaseModel):
        yield from paths_in(value, *keys)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _paths(one, *keys)


def _resolved(path: Path) -> Path:
    """Return a path without links; where they lead in a circle, as it is."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return path.absolute()
