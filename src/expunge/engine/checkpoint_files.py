"""State files: how checkpoints are named, and where each of several ranks keeps its own."""

from __future__ import annotations

import re
from pathlib import Path

from expunge.errors import CheckpointError
from expunge.files import PARTIAL_SUFFIX, remove_abandoned

_STATE_NAME = re.compile(r"state-(\d{6,})\.safetensors")
_PARTIAL_NAME = re.compile(rf"\.{_STATE_NAME.pattern}{PARTIAL_SUFFIX}")
_RANK_FOLDER_NAME = re.compile(r"rank-\d+-of-(\d+)")


def state_path(folder: Path, number: int) -> Path:
    return folder / f"state-{number:06d}.safetensors"


def parse_index(path: Path) -> int:
    """Return the number in a checkpoint's name."""
    match = _STATE_NAME.fullmatch(path.name)
    return int(match[1]) if match else 0


def state_files(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the oldest first."""
    return sorted((path for path in list_folder(folder) if _STATE_NAME.fullmatch(path.name)), key=parse_index)


def remove_partial_states(folder: Path) -> None:
    """Remove what a kill has left half written."""
    for path in list_folder(folder):
        if _PARTIAL_NAME.fullmatch(path.name):
            remove_abandoned(path)


def list_folder(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing where there is none."""
    return list(folder.iterdir()) if folder.is_dir() else []


def rank_folder(run: Path, rank: int, world_size: int) -> Path:
    """Return where one of so many ranks keeps its checkpoints.

    Examples:
        >>> rank_folder(Path("checkpoints"), 0, 2).as_posix()
        'checkpoints/rank-0-of-2'
    """
    return run / f"rank-{rank}-of-{world_size}"


def find_world_sizes(run: Path) -> set[int]:
    """Return how many processes have left checkpoints below a folder; more than one number, where some were copied."""
    ranked = [(path, _RANK_FOLDER_NAME.fullmatch(path.name)) for path in list_folder(run)]
    world_sizes = {int(match[1]) for path, match in ranked if match and state_files(path)}
    return world_sizes | ({1} if state_files(run) else set())


def check_world_size(run: Path, world_size: int) -> None:
    """Refuse checkpoints of another number of processes: each of them had a part of the state."""
    others = sorted(find_world_sizes(run) - {world_size})
    if others:
        expected = f"as many processes as the run of '{run}' was begun with, {others[0]}"
        raise CheckpointError(expected, f"{world_size}", f"start {others[0]}, or begin anew in another folder")
