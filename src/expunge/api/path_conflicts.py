"""Which names in its folder a run makes and removes, and that nothing of the user's is under one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from expunge.api.folder import CHECKPOINTS_FOLDER, ORIGINAL_FILE, RUN_FILES, ULIRA_FOLDER, check_name_length
from expunge.api.loading import error_location
from expunge.errors import ConfigError
from expunge.request.request_file import UNLEARNED_FOLDER, RequestFile
from expunge.weights.lock import LOCK_NAME

RUN_FOLDERS = (CHECKPOINTS_FOLDER, ULIRA_FOLDER, UNLEARNED_FOLDER)
"""Folders in a run folder that are emptied or replaced."""
_RUN_KEYS = ("out", "environment")


def check_paths(config: RequestFile, data_dir: Path | None = None) -> None:
    """Refuse a request that names something which its own run would write over or remove."""
    for keys, path in iterate_paths(config):
        if keys == ("checkpoint",) and not path.exists():  # the run trains it
            with error_location(config, *keys):
                check_name_length(path)
        name = find_conflict(config.out, path, is_folder=keys[-1] == "dir")
        if name is None or (name == ORIGINAL_FILE and keys == ("checkpoint",)):
            continue
        with error_location(config, *keys):
            hint = "keep it elsewhere, or choose another folder with out (--out)"
            raise ConfigError("a path that the run does not write over", f"'{path}' under {name}", hint)
    if data_dir is not None and find_conflict(config.out, data_dir, is_folder=True) is not None:
        hint = "choose another folder with out (--out)"
        raise ConfigError("a run folder apart from the data", f"'{data_dir}'", hint, config.where("out"))


def find_conflict(out: Path, path: Path, is_folder: bool = False) -> str | None:
    """Return what a run in ``out`` would write over or remove if something of the user's were at ``path``; else None.

    Examples:
        >>> find_conflict(Path("run"), Path("run/checkpoints/ledger.sqlite"))
        "the run's own 'checkpoints'"
        >>> find_conflict(Path("run"), Path("ledger.sqlite")), find_conflict(Path("run"), Path("run/ledger.sqlite"))
        (None, None)
    """
    for user_path in {path.absolute(), _resolve(path)}:
        for folder in {out.absolute(), _resolve(out)}:
            if user_path == folder:
                return "the run folder itself" if is_folder else None
            if not user_path.is_relative_to(folder):
                continue
            name, *below = user_path.relative_to(folder).parts
            if name == ORIGINAL_FILE and not below:
                return ORIGINAL_FILE
            if name in RUN_FOLDERS or (not below and name in (*RUN_FILES, LOCK_NAME)):
                return f"the run's own '{name}'"
    return None


def iterate_paths(part: BaseModel, *keys: str) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Yield every path that a request names, with the keys that lead to it."""
    for name, field in type(part).model_fields.items():
        value, key = getattr(part, name), field.alias or name
        if not keys and key in _RUN_KEYS:
            continue
        yield from _iterate_value_paths(value, *keys, key)


def _iterate_value_paths(value: Any, *keys: str) -> Iterator[tuple[tuple[str, ...], Path]]:
    if isinstance(value, Path):
        yield keys, value
    elif keys == ("model",) and isinstance(value, str) and Path(value).is_absolute():
        yield keys, Path(value)  # a folder, where a name on the hub would do too
    elif isinstance(value, BaseModel):
        yield from iterate_paths(value, *keys)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _iterate_value_paths(one, *keys)


def _resolve(path: Path) -> Path:
    """Return a path without links; where they lead in a circle, as it is."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return path.absolute()
