"""The run folder: where a run leaves what it did, each file whole or not there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from expunge.errors import ConfigError
from expunge.weights import replacing

FINISHED = "result.json"


def refuse_finished(path: Path, overwrite: bool) -> None:
    """Refuse a folder that holds a finished run, unless it may be replaced.

    Raises:
        ConfigError: If it does.
    """
    if (path / FINISHED).exists() and not overwrite:
        cure = "choose another folder, or pass --overwrite (overwrite=True)"
        raise ConfigError("a folder without a finished run", f"one in '{path}'", cure)


class RunFolder:
    """A folder for one run.

    Every file is written under a temporary name, synced and renamed; ``result.json`` comes last and marks the run as
    finished.

    Args:
        path: The folder; made if it is not there.
        overwrite: Whether a finished run in it may be replaced. Default false.

    Raises:
        ConfigError: If the folder holds a finished run, or cannot be written.

    Examples:
        >>> import tempfile
        >>> run = RunFolder(tempfile.mkdtemp())
        >>> run.write_json("config.json", {"seed": 0}).name
        'config.json'
    """

    def __init__(self, path: Path | str, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        refuse_finished(self.path, overwrite)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            found = f"'{self.path}' ({error.strerror})"
            raise ConfigError("a run folder that can be written", found, "choose another with --out") from error
        (self.path / FINISHED).unlink(missing_ok=True)

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
