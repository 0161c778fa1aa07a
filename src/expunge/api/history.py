"""History: the rows of a run as they come, on disk beside its checkpoints where it has them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from expunge.engine import HistoryRow
from expunge.errors import CheckpointError
from expunge.weights import atomic_write

HISTORY_NAME = "history.jsonl"


class History:
    """Collects rows and hands them on; with a folder they are appended to a file in it too.

    A checkpoint knows how many rows there were, and their digest. What the file holds beyond them is written again.

    Args:
        callbacks: Each called with new rows, and once with all earlier ones where a run goes on.
        folder: Of the checkpoints. Default: none.
    """

    def __init__(self, callbacks: Sequence[Callable[[list[HistoryRow]], None]], folder: Path | None = None) -> None:
        self.rows: list[HistoryRow] = []
        self.callbacks, self.path = callbacks, None if folder is None else folder / HISTORY_NAME
        self.digest = hashlib.sha256()
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, rows: list[HistoryRow]) -> None:
        """Take in new rows.

        Raises:
            CheckpointError: If they cannot be written.
        """
        if self.path is not None:
            self.write(self.path, encode_rows(rows), "ab" if self.rows else "wb")
        self.rows.extend(rows)
        self.notify(rows)

    def notify(self, rows: list[HistoryRow]) -> None:
        """Hand rows on."""
        for callback in self.callbacks:
            callback(rows)

    def write(self, path: Path, lines: list[bytes], mode: str) -> None:
        """Write lines to the file, and take them into the digest."""
        try:
            with path.open(mode) as file:
                file.writelines(lines)
        except OSError as error:
            hint = "free the disk, then go on from the last checkpoint with --resume (checkpoints=)"
            raise CheckpointError(f"to write '{path}'", error.strerror or "an error", hint) from error
        for line in lines:
            self.digest.update(line)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of rows and their digest; the file is synced before the checkpoint that counts on it."""
        if self.path is not None and self.path.exists():
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
        return {"rows": len(self.rows), "sha256": self.digest.hexdigest()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after so many rows of the file.

        Raises:
            CheckpointError: If it does not have them.
        """
        if self.path is None:
            return
        lines = self.path.read_bytes().splitlines(keepends=True)[: state["rows"]] if self.path.exists() else []
        if len(lines) < state["rows"] or hashlib.sha256(b"".join(lines)).hexdigest() != state["sha256"]:
            actual = f"{len(lines)} of {state['rows']} rows, or others"
            hint = f"remove '{self.path.parent}' to begin anew"
            raise CheckpointError(f"the rows of the checkpoint in '{self.path}'", actual, hint)
        with atomic_write(self.path, overwrite=True) as temporary:
            self.write(temporary, lines, "wb")
        self.rows = [json.loads(line) for line in lines]
        self.notify(list(self.rows))


def encode_rows(rows: Iterable[HistoryRow]) -> list[bytes]:
    """Return rows as lines of JSON."""
    return [json.dumps(row, allow_nan=False).encode() + b"\n" for row in rows]
