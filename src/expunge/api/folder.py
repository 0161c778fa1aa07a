"""The run folder: where a run leaves what it did, each file whole or not there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from expunge.api.request.request_file import UNLEARNED_FOLDER
from expunge.errors import ConfigError, is_unicode
from expunge.files import HALF, is_plain_folder, open_plain, remove_halves, remove_named
from expunge.weights import replacing

FINISHED = "result.json"
CONFIG, MANIFEST, HISTORY, REPORT = "config.json", "manifest.json", "history.jsonl", "report.html"
GRID = "grid.png"
SAVEPOINTS = "savepoints"
"""Folder of a run's state while it is under way; it holds the original's weights."""
UNLEARNED, RETRAINED, ORIGINAL = "unlearned.safetensors", "retrained.safetensors", "original.safetensors"
LAST_GOOD = "last-good.safetensors"
"""What a run leaves that broke off at a loss that is not finite: half unlearned."""
WRITTEN = (FINISHED, CONFIG, MANIFEST, HISTORY, REPORT, GRID, UNLEARNED, RETRAINED, LAST_GOOD)
"""What a run writes, whether or not the folder has it already; ``original.safetensors`` it takes as it finds it."""

SAVED = ".saved"
"""Folder of a saved run whose files are not all in their place yet."""
HALVES = (*WRITTEN, ORIGINAL, UNLEARNED_FOLDER, SAVED)
"""What a killed run may have left half written."""

LONGEST_NAME = 230
"""Bytes of a name that a run writes: file systems have 255, and a head file being written needs 19 more."""

SHADOWS = "ulira"
"""Where an audit with shadow models lies in a run folder; below, in ``cache``, are the models themselves."""


_SAVED = re.compile(
    rf"(state-\d{{6,}}\.safetensors|history\.jsonl|\.lock|\.(state-\d+\.safetensors|history\.jsonl){HALF})"
)
"""What a run leaves among its savepoints."""
_RANKED = re.compile(r"rank-\d+-of-\d+")

FREE = {"out", "ledger", "show_examples", "savepoints", "environment", "run"}
"""What a request may say otherwise when its run is gone on with."""


class Opening(NamedTuple):
    """What may become of an earlier run in a folder; by default there must be none.

    Args:
        overwrite: It may be replaced.
        resume: It is gone on with.
        force: It is gone on with by other code than it was begun with.
    """

    overwrite: bool = False
    resume: bool = False
    force: bool = False


def check_folder(path: Path, overwrite: bool, resume: bool = False, written: Sequence[str] = WRITTEN) -> None:
    """Refuse a folder that holds an earlier run, unless it may be replaced or gone on with, or that cannot be written.

    Nothing is touched.

    Args:
        path: The folder.
        overwrite: Whether an earlier run in it may be replaced.
        resume: Whether it may be gone on with. Default false.
        written: Files that the run would write. Default: those of an unlearning run.

    Raises:
        ConfigError: If it does.
    """
    there = [name for name in written if (path / name).exists()]
    if there and not (overwrite or resume):
        cure = "choose another folder, or pass --overwrite (overwrite=True)"
        if not (path / FINISHED).exists():
            cure += "; --resume (resume=True) goes on with a run that was stopped"
        raise ConfigError("a folder without an earlier run", f"'{there[0]}' in '{path}'", cure)
    check_writable(path)
    for name in (SAVEPOINTS, SHADOWS, UNLEARNED_FOLDER):
        if (path / name).is_symlink():
            cure = "remove the link, or choose another folder"
            raise ConfigError("a run folder without links", f"'{path / name}'", cure)


def check_writable(path: Path, name: str = "run folder", cure: str = "choose another with out (--out)") -> None:
    """Refuse a folder that cannot be made or written; touch nothing.

    Args:
        path: The folder.
        name: What it is called. Default that of a run.
        cure: What to do then. Default for that of a run.

    Raises:
        ConfigError: If that is so.
    """
    if not is_unicode(str(path)):
        raise ConfigError(f"a {name} whose path is UTF-8", f"'{path}'", "rename it, or choose another one")
    nearest = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
    reason = ""
    if not nearest.is_dir():
        reason = f"'{nearest}' is a file" if nearest.exists() else f"the link '{nearest}' leads nowhere"
    elif not os.access(nearest, os.W_OK | os.X_OK):
        reason = f"no right to write into '{nearest}'"
    if reason:
        raise ConfigError(f"a {name} that can be written", f"'{path}' ({reason})", cure)


def check_name_room(path: Path) -> None:
    """Refuse a file to be written whose name leaves no room for what it is called while it is half written.

    Raises:
        ConfigError: If it is longer than ``LONGEST_NAME`` bytes.
    """
    size = len(os.fsencode(path.name))
    if size > LONGEST_NAME:
        raise ConfigError(f"a file name of at most {LONGEST_NAME} bytes", f"one of {size}", "choose a shorter one")


def refuse_another(path: Path, told: Mapping[str, Any]) -> None:
    """Refuse to go on with the run of another request.

    Files may lie elsewhere than they did, as in a project that was moved: their names count here, and what they hold
    is compared with what the run was begun with.

    Args:
        path: What the folder has of the request.
        told: The request, as plain values.

    Raises:
        ConfigError: If they differ in more than where results go and how often the state is saved.
    """
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        saved = {}
    saved = saved if isinstance(saved, dict) else {}
    now = json.loads(json.dumps(told, default=str))
    keys = [key for key in {**now, **saved} if key not in FREE]
    other = [key for key in keys if _without_folders(now.get(key)) != _without_folders(saved.get(key))]
    if other:
        found = f"another {' and '.join(other)}"
        cure = "ask for the same as then, or pass --overwrite instead to begin anew"
        raise ConfigError(f"the request that the run in '{path.parent}' was begun for", found, cure)


def _without_folders(value: Any) -> Any:
    """Return a setting with the last name alone of each whole path in it."""
    if isinstance(value, dict):
        return {key: _without_folders(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_folders(one) for one in value]
    return Path(value).name if isinstance(value, str) and os.path.isabs(value) else value


def refuse_other_data(path: Path, record: Mapping[str, Any]) -> None:
    """Refuse to go on with a run whose training data were others, or were split in another way.

    Args:
        path: The manifest that the folder has.
        record: The manifest of now.

    Raises:
        ConfigError: If they differ in what the examples hold.
    """
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        saved = None
    held = saved.get("contents") if isinstance(saved, dict) else None
    if held != record["contents"]:
        cure = "ask for the same as then, or pass --overwrite instead to begin anew"
        raise ConfigError(f"the data that the run in '{path.parent}' was begun with", "other training data", cure)


def forget_savepoints(run: Path) -> bool:
    """Remove the savepoints of a run folder, and return whether there were any.

    No link is followed, and what has another name than a run's own files stays.
    """
    place = run / SAVEPOINTS
    ranks = [path for path in place.iterdir() if _RANKED.fullmatch(path.name)] if is_plain_folder(place) else []
    return sum(remove_named(folder, _SAVED) for folder in (*ranks, place)) > 0


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
        resume: Whether an earlier run in it is gone on with: all but its history stays. Default false.
        written: Files that the run writes, those of an earlier one being removed. Default: those of an unlearning run.

    Raises:
        ConfigError: If the folder holds an earlier run, or cannot be written.

    Examples:
        >>> import tempfile
        >>> run = RunFolder(tempfile.mkdtemp())
        >>> run.write_json("config.json", {"seed": 0}).name
        'config.json'
    """

    def __init__(
        self, path: Path | str, *, overwrite: bool = False, resume: bool = False, written: Sequence[str] = WRITTEN
    ) -> None:
        self.path = Path(path)
        check_folder(self.path, overwrite, resume, written)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for name in self.stale(resume, written):
                (self.path / name).unlink(missing_ok=True)
            remove_halves(self.path, HALVES)
            if HISTORY in written and not resume:
                self.forget_savepoints()
        except OSError as error:
            raise unwritable(self.path, error.strerror or type(error).__name__) from error

    def stale(self, resume: bool, written: Sequence[str]) -> Sequence[str]:
        """Return the files that a run writes anew from its beginning."""
        if not resume:
            return written
        return () if (self.path / FINISHED).exists() else (HISTORY,)

    def forget_savepoints(self) -> None:
        """Remove the state of a run that is done, or that another one replaces."""
        forget_savepoints(self.path)

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
        with open_plain(self.within(name), "ab") as file:
            file.writelines(json.dumps(row, allow_nan=False).encode() + b"\n" for row in rows)
