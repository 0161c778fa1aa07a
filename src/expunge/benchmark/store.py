"""What has been made, on the disk: written whole or not at all, and made by one process at a time."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from expunge.benchmark.cells import BenchmarkCell, Item
from expunge.benchmark.data_file_hash import hash_data_files
from expunge.benchmark.facts import find_problem
from expunge.errors import ConfigError, DataError
from expunge.files import lock_descriptor, open_regular_file, remove_abandoned
from expunge.paths import check_replaceable, read_bytes
from expunge.weights.file import atomic_write

MAX_RESULT_BYTES = 2**28

DATA_FILES = "data_files"
"""Key of the hash of the user's own files of data."""
FAILURE = "failure"
"""Key of what went wrong, in the file of an item that could not be made."""


@dataclass(frozen=True)
class BenchmarkFolders:
    """Where things are kept.

    Args:
        out: Of the cells.
        cache: Of the networks.
        data: Of the data sets. Default: the variable ``EXPUNGE_DATA``.
    """

    out: Path
    cache: Path
    data: Path | None = None

    def create(self) -> None:
        """Make the folders that are missing."""
        for folder in (self.out, self.cache):
            folder.mkdir(parents=True, exist_ok=True)

    def path(self, item: Item) -> Path:
        """Return the JSON file of an item."""
        return (self.out if isinstance(item, BenchmarkCell) else self.cache) / f"{item.key}.json"

    def weights_path(self, item: Item) -> Path:
        """Return the weights file of a network."""
        return self.path(item).with_suffix(".safetensors")

    def load(self, item: Item) -> dict[str, Any] | None:
        """Return what is known of an item; None if it was not made, of other files of data, or its file is not whole.

        A network's JSON is written after its weights, so that it stands for both.

        Raises:
            DataError: If the file is whole and holds something else than such an item.
        """
        try:
            facts = json.loads(self.path(item).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(facts, dict) or facts.get("key") != item.key:
            return None
        problem = find_problem(item.role_name, facts, FAILURE in facts)
        if problem is not None:
            hint = "make it again with --force, or restore the file"
            raise DataError("what a benchmark wrote", f"something else in '{self.path(item)}' ({problem})", hint)
        if facts.get(DATA_FILES) != hash_data_files(item.recipe.data, self.data):
            return None
        is_complete = isinstance(item, BenchmarkCell) or FAILURE in facts or self.weights_path(item).is_file()
        return facts if is_complete else None

    def write(self, item: Item, facts: dict[str, Any]) -> None:
        """Write what was found of an item."""
        files = hash_data_files(item.recipe.data, self.data)
        write_json(self.path(item), {"key": item.key, **facts, **({} if files is None else {DATA_FILES: files})})

    def delete(self, item: Item) -> None:
        """Remove what was written of an item."""
        self.path(item).unlink(missing_ok=True)

    @contextmanager
    def lock(self, item: Item) -> Iterator[bool]:
        """Hold an item while the body makes it; the body is told whether it does, or another process has it.

        The system gives the lock back when a process ends, however it ends. What such a process left half-written is
        removed.
        """
        path = self.path(item).with_name(f".{item.key}.lock")
        with open_regular_file(path, "ab") as file:
            is_locked = try_lock(file.fileno())
            if is_locked:
                for rest in path.parent.glob(f".{item.key}.*.tmp"):
                    remove_abandoned(rest)
            yield is_locked
        if is_locked and self.path(item).exists():  # whoever takes the name anew finds the item made
            with suppress(OSError):
                path.unlink(missing_ok=True)


def check_result_file(path: Path) -> None:
    """Refuse to write a comparison's result over anything but the result of a comparison."""
    check_replaceable(path, ".json")
    if path.exists():
        with suppress(ValueError, RecursionError):
            content = json.loads(read_bytes(path, MAX_RESULT_BYTES))
            if isinstance(content, dict) and content.get("kind") in ("benchmark", "sweep"):
                return
        wanted = "the result of a comparison where a file is replaced"
        raise ConfigError(wanted, f"something else in '{path}'", "name another file")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a mapping as JSON, whole or not at all; an older file is replaced."""
    write_text(path, json.dumps(to_json_value(value), indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all; an older file is replaced."""
    with atomic_write(path, overwrite=True) as temporary:
        temporary.write_text(text, "utf-8")


def to_json_value(value: Any) -> Any:
    """Return a value as JSON holds it: no number for what is not finite, words for what JSON does not know.

    Examples:
        >>> to_json_value({"loss": float("inf"), "folder": Path("runs"), "rates": (0.1, 1)})
        {'loss': None, 'folder': 'runs', 'rates': [0.1, 1]}
    """
    if isinstance(value, Mapping):
        return {str(key): to_json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def try_lock(descriptor: int) -> bool:
    """Lock an open file for this process alone until it is closed; return whether that was possible."""
    try:
        lock_descriptor(descriptor)
    except OSError:
        return False
    return True


@cache
def get_git_commit() -> str | None:
    """Return the git commit of the sources, with a mark if they differ from it; None outside of a checkout."""
    import subprocess

    import expunge

    root = Path(expunge.__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commands = [["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]]
        outputs = [
            subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True, env={**os.environ})
            for words in commands
        ]
    except (OSError, subprocess.CalledProcessError):
        return None
    return outputs[0].stdout.strip() + (" with changes" if outputs[1].stdout.strip() else "")
