"""The run folder: where a run leaves what it did, each file whole or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from expunge.errors import ConfigError
from expunge.weights import replacing

FINISHED = "result.json"
CONFIG, MANIFEST, HISTORY, REPORT = "config.json", "manifest.json", "history.jsonl", "report.html"
GRID = "grid.png"
UNLEARNED, RETRAINED, ORIGINAL = "unlearned.safetensors", "retrained.safetensors", "original.safetensors"
WRITTEN = (FINISHED, CONFIG, MANIFEST, HISTORY, REPORT, GRID, UNLEARNED, RETRAINED)
"""What a run writes, whether or not the folder has it already; ``original.safetensors`` it takes as it finds it."""

SHADOWS = "ulira"
"""Where an audit with shadow models lies in a run folder; below, in ``cache``, are the models themselves."""


def check_folder(path: Path, overwrite: bool, written: Sequence[str] = WRITTEN) -> None:
    """Refuse a folder that holds an earlier run, unless it may be replaced, or that cannot be written; touch nothing.

    Args:
        path: The folder.
        overwrite: Whether an earlier run in it may be replaced.
        written: Files that the run would write. Default: those of an unlearning run.

    Raises:
        ConfigError: If it does.
    """
    there = [name for name in written if (path / name).exists()]
    if there and not overwrite:
        cure = "choose another folder, or pass --overwrite (overwrite=True)"
        raise ConfigError("a folder without an earlier run", f"'{there[0]}' in '{path}'", cure)
    check_writable(path)


def check_writable(path: Path) -> None:
    """Refuse a folder that cannot be made or written; touch nothing.

    Raises:
        ConfigError: If that is so.
    """
    nearest = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise unwritable(path, f"'{nearest}' is a file")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise unwritable(path, f"no right to write into '{nearest}'")


def unwritable(path: Path, reason: str) -> ConfigError:
    """Return the error for a folder that cannot be written."""
    return ConfigError("a run folder that can be written", f"'{path}' ({reason})", "choose another with out (--out)")


class RunFolder:
    """A folder for one run.

    Every file is written under a temporary name, synced and renamed; ``result.json`` comes last and marks the run as
    finished. What an earlier run wrote is removed first, so that nothing of it is taken for this run's.

    Args:
        path: The folder; made if it is not there.
        overwrite: Whether an earlier run in it may be replaced. Default false.
        written: Files that the run writes, those of an earlier one being removed. Default: those of an unlearning run.

    Raises:
        ConfigError: If the folder holds an earlier run, or cannot be written.

    Examples:
        >>> import tempfile
        >>> run = RunFolder(tempfile.mkdtemp())
        >>> run.write_json("config.json", {"seed": 0}).name
        'config.json'
    """

    def __init__(self, path: Path | str, *, overwrite: bool = False, written: Sequence[str] = WRITTEN) -> None:
        self.path = Path(path)
        check_folder(self.path, overwrite, written)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for name in written:
                (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self.path, error.strerror or type(error).__name__) from error

    def within(self, name: str) -> Path:
        """Return the path of a file in the folder, its parents made."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file whole, replacing what is there."""
        target = self.within(name)
        with replacing(target, overwrite=True) as temporary:
            temporary.write_text(text, encoding="utf-8")
        return target

    def write_json(self, name: str, value: Any) -> Path:
        """Write a value as JSON, replacing what is there."""
        return self.write_text(name, json.dumps(value, indent=1, allow_nan=False, default=str) + "\n")

    def write_lines(self, name: str, rows: Iterable[Mapping[str, Any]]) -> Path:
        """Write rows as JSON Lines, replacing what is there."""
        return self.write_text(name, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))

    def append_rows(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows to a JSON-Lines file, so that a run that is stopped leaves what it had done."""
        with self.within(name).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)
