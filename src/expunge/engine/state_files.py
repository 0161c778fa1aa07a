"""State files: how savepoints are named, and where each of several ranks keeps its own."""

from __future__ import annotations

import re
from pathlib import Path

from expunge.errors import CheckpointError
from expunge.files import HALF, remove_abandoned

_NAMED = re.compile(r"state-(\d{6,})\.safetensors")
_HALF = re.compile(rf"\.{_NAMED.pattern}{HALF}")
_RANKED = re.compile(r"rank-\d+-of-(\d+)")


def state_file(folder: Path, number: int) -> Path:
    """Return the path of the savepoint with a number."""
    return folder / f"state-{number:06d}.safetensors"


def number_of(path: Path) -> int:
    """Return the number in a savepoint's name."""
    named = _NAMED.fullmatch(path.name)
    return int(named[1]) if named else 0


def state_files(folder: Path) -> list[Path]:
    """Return the savepoints in a folder, the oldest first."""
    return sorted((path for path in inside(folder) if _NAMED.fullmatch(path.name)), key=number_of)


def remove_halves(folder: Path) -> None:
    """Remove what a kill has left half written."""
    for path in inside(folder):
        if _HALF.fullmatch(path.name):
            remove_abandoned(path)


def inside(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing where there is none."""
    return list(folder.iterdir()) if folder.is_dir() else []


def rank_folder(run: Path, rank: int, size: int) -> Path:
    """Return where one of so many ranks keeps its savepoints.

    Examples:
        >>> rank_folder(Path("savepoints"), 0, 2).as_posix()
        'savepoints/rank-0-of-2'
    """
    return run / f"rank-{rank}-of-{size}"


def sizes(run: Path) -> set[int]:
    """Return how many processes have left savepoints below a folder; more than one number, where some were copied."""
    ranked = [(path, _RANKED.fullmatch(path.name)) for path in inside(run)]
    found = {int(named[1]) for path, named in ranked if named and state_files(path)}
    return found | ({1} if state_files(run) else set())


def refuse_another_number(run: Path, size: int) -> None:
    """Refuse savepoints of another number of processes: each of them had a part of the state.

    Args:
        run: Folder of the run's savepoints.
        size: Processes that want to go on with it.

    Raises:
        CheckpointError: If there are such.
    """
    others = sorted(sizes(run) - {size})
    if others:
        expected = f"as many processes as the run of '{run}' was begun with, {others[0]}"
        raise CheckpointError(expected, f"{size}", f"start {others[0]}, or begin anew in another folder")
