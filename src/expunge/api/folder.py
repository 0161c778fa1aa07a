"""The run folder: where a run leaves what it did, each file whole or not there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from expunge.errors import ConfigError, is_unicode
from expunge.files import PARTIAL_SUFFIX, is_real_folder, open_regular_file, remove_matching, remove_partial
from expunge.request.request_file import UNLEARNED_FOLDER
from expunge.weights import atomic_write

RESULT_FILE = "result.json"
CONFIG_FILE, MANIFEST_FILE, HISTORY_FILE, REPORT_FILE = "config.json", "manifest.json", "history.jsonl", "report.html"
GRID_FILE = "grid.png"
CHECKPOINTS_FOLDER = "checkpoints"
"""Folder of a run's state while it is under way; it holds the original's weights."""
UNLEARNED_FILE, RETRAINED_FILE, ORIGINAL_FILE = "unlearned.safetensors", "retrained.safetensors", "original.safetensors"
LAST_GOOD_FILE = "last-good.safetensors"
"""What a run leaves that broke off at a loss that is not finite: half unlearned."""
RUN_FILES = (
    RESULT_FILE,
    CONFIG_FILE,
    MANIFEST_FILE,
    HISTORY_FILE,
    REPORT_FILE,
    GRID_FILE,
    UNLEARNED_FILE,
    RETRAINED_FILE,
    LAST_GOOD_FILE,
)
"""What a run writes, whether or not the folder has it already; ``original.safetensors`` it takes as it finds it."""

SAVED_FOLDER = ".saved"
"""Folder of a saved run whose files are not all in their place yet."""
PARTIAL_NAMES = (*RUN_FILES, ORIGINAL_FILE, UNLEARNED_FOLDER, SAVED_FOLDER)
"""What a killed run may have left half written."""

MAX_NAME_BYTES = 230
"""Bytes of a name that a run writes: file systems have 255, and a head file being written needs 19 more."""

ULIRA_FOLDER = "ulira"
"""Where an audit with shadow models lies in a run folder; below, in ``cache``, are the models themselves."""


_CHECKPOINT_NAME = re.compile(
    rf"(state-\d{{6,}}\.safetensors|history\.jsonl|\.lock|\.(state-\d+\.safetensors|history\.jsonl){PARTIAL_SUFFIX})"
)
"""What a run leaves among its checkpoints."""
_RANK_FOLDER_NAME = re.compile(r"rank-\d+-of-\d+")

MUTABLE_KEYS = {"out", "ledger", "show_examples", "checkpoint_every", "environment", "run"}
"""What a request may say otherwise when its run is gone on with."""


class FolderMode(NamedTuple):
    """What may become of an earlier run in a folder; by default there must be none.

    Args:
        overwrite: It may be replaced.
        resume: It is gone on with.
        force: It is gone on with by other code than it was begun with.
    """

    overwrite: bool = False
    resume: bool = False
    force: bool = False


def check_folder(path: Path, overwrite: bool, resume: bool = False, files: Sequence[str] = RUN_FILES) -> None:
    """Refuse a folder that holds an earlier run, unless it may be replaced or gone on with, or that cannot be written.

    Nothing is touched.
    """
    present = [name for name in files if (path / name).exists()]
    if present and not (overwrite or resume):
        hint = "choose another folder, or pass --overwrite (overwrite=True)"
        if not (path / RESULT_FILE).exists():
            hint += "; --resume (resume=True) continues a run that was stopped"
        raise ConfigError("a folder without an earlier run", f"'{present[0]}' in '{path}'", hint)
    check_writable(path)
    for name in (CHECKPOINTS_FOLDER, ULIRA_FOLDER, UNLEARNED_FOLDER):
        if (path / name).is_symlink():
            hint = "remove the link, or choose another folder"
            raise ConfigError("a run folder without links", f"'{path / name}'", hint)


def check_writable(path: Path, name: str = "run folder", cure: str = "choose another with out (--out)") -> None:
    """Refuse a folder that cannot be made or written; touch nothing."""
    if not is_unicode(str(path)):
        raise ConfigError(f"a {name} whose path is UTF-8", f"'{path}'", "rename it, or choose another one")
    nearest = next(parent for parent in (path, *path.absolute().parents) if os.path.lexists(parent))
    reason = ""
    if not nearest.is_dir():
        reason = f"'{nearest}' is a file" if nearest.exists() else f"the link '{nearest}' leads nowhere"
    elif not os.access(nearest, os.W_OK | os.X_OK):
        reason = f"no right to write into '{nearest}'"
    if reason:
        raise ConfigError(f"a {name} that can be written", f"'{path}' ({reason})", cure)


def check_name_length(path: Path) -> None:
    """Refuse a file to be written whose name leaves no room for what it is called while it is half written."""
    size = len(os.fsencode(path.name))
    if size > MAX_NAME_BYTES:
        raise ConfigError(f"a file name of at most {MAX_NAME_BYTES} bytes", f"one of {size}", "choose a shorter one")


def check_same_config(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse to go on with the run of another request.

    Files may lie elsewhere than they did, as in a project that was moved: their names count here, and what they hold
    is compared with what the run was begun with.
    """
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        saved = {}
    saved = saved if isinstance(saved, dict) else {}
    now = json.loads(json.dumps(config, default=str))
    keys = [key for key in {**now, **saved} if key not in MUTABLE_KEYS]
    other = [key for key in keys if _strip_folders(now.get(key)) != _strip_folders(saved.get(key))]
    if other:
        actual = f"another {' and '.join(other)}"
        hint = "ask for the same as then, or pass --overwrite instead to begin anew"
        raise ConfigError(f"the request that the run in '{path.parent}' was begun for", actual, hint)


def _strip_folders(value: Any) -> Any:
    """Return a setting with the last name alone of each whole path in it."""
    if isinstance(value, dict):
        return {key: _strip_folders(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_strip_folders(one) for one in value]
    return Path(value).name if isinstance(value, str) and os.path.isabs(value) else value


def check_same_data(path: Path, record: Mapping[str, Any]) -> None:
    """Refuse to go on with a run whose training data were others, or were split in another way."""
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        saved = None
    saved_contents = saved.get("contents") if isinstance(saved, dict) else None
    if saved_contents != record["contents"]:
        hint = "ask for the same as then, or pass --overwrite instead to begin anew"
        raise ConfigError(f"the data that the run in '{path.parent}' was begun with", "other training data", hint)


def clear_checkpoints(run: Path) -> bool:
    """Remove the checkpoints of a run folder, and return whether there were any.

    No link is followed, and what has another name than a run's own files stays.
    """
    checkpoints = run / CHECKPOINTS_FOLDER
    ranks = (
        [path for path in checkpoints.iterdir() if _RANK_FOLDER_NAME.fullmatch(path.name)]
        if is_real_folder(checkpoints)
        else []
    )
    return sum(remove_matching(folder, _CHECKPOINT_NAME) for folder in (*ranks, checkpoints)) > 0


def unwritable_error(path: Path, reason: str) -> ConfigError:
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
        files: Files that the run writes, those of an earlier one being removed. Default: those of an unlearning run.

    Raises:
        ConfigError: If the folder holds an earlier run, or cannot be written.

    Examples:
        >>> import tempfile
        >>> run = RunFolder(tempfile.mkdtemp())
        >>> run.write_json("config.json", {"seed": 0}).name
        'config.json'
    """

    def __init__(
        self, path: Path | str, *, overwrite: bool = False, resume: bool = False, files: Sequence[str] = RUN_FILES
    ) -> None:
        self.path = Path(path)
        check_folder(self.path, overwrite, resume, files)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for name in self.stale_files(resume, files):
                (self.path / name).unlink(missing_ok=True)
            remove_partial(self.path, PARTIAL_NAMES)
            if HISTORY_FILE in files and not resume:
                self.clear_checkpoints()
        except OSError as error:
            raise unwritable_error(self.path, error.strerror or type(error).__name__) from error

    def stale_files(self, resume: bool, files: Sequence[str]) -> Sequence[str]:
        """Return the files that a run writes anew from its beginning."""
        if not resume:
            return files
        return () if (self.path / RESULT_FILE).exists() else (HISTORY_FILE,)

    def clear_checkpoints(self) -> None:
        """Remove the state of a run that is done, or that another one replaces."""
        clear_checkpoints(self.path)

    def file_path(self, name: str) -> Path:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file whole, replacing what is there."""
        target = self.file_path(name)
        with atomic_write(target, overwrite=True) as temporary:
            temporary.write_text(text, encoding="utf-8")
        return target

    def write_json(self, name: str, value: Any) -> Path:
        return self.write_text(name, json.dumps(value, indent=1, allow_nan=False, default=str) + "\n")

    def write_lines(self, name: str, rows: Iterable[Mapping[str, Any]]) -> Path:
        """Write rows as JSON Lines, replacing what is there."""
        return self.write_text(name, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))

    def append_rows(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows to a JSON-Lines file, so that a run that is stopped leaves what it had done."""
        with open_regular_file(self.file_path(name), "ab") as file:
            file.writelines(json.dumps(row, allow_nan=False).encode() + b"\n" for row in rows)
