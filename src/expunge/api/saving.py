"""Saving over an earlier run: written aside, put in its place by one rename, and the old files removed last.

A kill before that rename leaves the old run as it was. After it the new one is there as a whole, if in part still in a
folder of its own; whoever opens the run folder next moves the rest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from expunge.api.folder import RESULT_FILE, RUN_FILES, SAVED_FOLDER, RunFolder, check_folder, unwritable_error
from expunge.errors import CheckpointError
from expunge.files import is_real_folder, read_regular_file, remove_partial, sync_to_disk, temporary_folder
from expunge.request.request_file import ADAPTER_FOLDER, UNLEARNED_FOLDER
from expunge.tasks.diffusion.folders import replace_folder

_MOVABLE_NAMES = frozenset({*RUN_FILES, UNLEARNED_FOLDER, ADAPTER_FOLDER})
"""What is moved or removed: a folder from elsewhere could name anything."""
_NAMES_FILE = "names.json"
_MAX_NAMES_BYTES = 10_000


@contextmanager
def saving(folder: Path | str, *, overwrite: bool, files: Sequence[str] = RUN_FILES) -> Iterator[RunFolder]:
    """Lend a folder to write a run into, and put what was written in the place of an earlier run.

    Args:
        folder: Where the run is in the end; made if it is not there.
        overwrite: Whether an earlier run in it may be replaced.
        files: Files of an earlier run that must not stay beside the new ones.

    Raises:
        ConfigError: If the folder holds an earlier run that may not be replaced, or cannot be written.
    """
    run_folder = Path(folder)
    finish_saving(run_folder)
    check_folder(run_folder, overwrite, files=files)
    is_new = not run_folder.exists()
    try:
        run_folder.mkdir(parents=True, exist_ok=True)
        try:
            with temporary_folder(run_folder / SAVED_FOLDER) as temporary:
                yield RunFolder(temporary)
                names = [path.name for path in temporary.iterdir()]
                (temporary / _NAMES_FILE).write_text(json.dumps([names, [*files]]), encoding="utf-8")
                sync_to_disk(temporary)
                temporary.replace(run_folder / SAVED_FOLDER)
                sync_to_disk(run_folder)
            finish_saving(run_folder)
        finally:
            if is_new:
                with suppress(OSError):  # the run is in it
                    run_folder.rmdir()
    except OSError as error:
        raise unwritable_error(run_folder, error.strerror or type(error).__name__) from error


def finish_saving(folder: Path) -> None:
    """Move what a save has left aside into its place, the result last, and remove what it replaces."""
    saved = folder / SAVED_FOLDER
    if not is_real_folder(saved):
        return
    try:
        present = {path.name for path in saved.iterdir()}
        if _NAMES_FILE in present:
            names, stale = (
                {*part} & _MOVABLE_NAMES
                for part in json.loads(read_regular_file(saved / _NAMES_FILE, _MAX_NAMES_BYTES))
            )
            for name in sorted(names & present, key=lambda name: name == RESULT_FILE):
                if is_real_folder(saved / name):
                    replace_folder(saved / name, folder / name)
                else:
                    os.replace(saved / name, folder / name)
            for name in stale - names:
                (folder / name).unlink(missing_ok=True)
            (saved / _NAMES_FILE).unlink()
        saved.rmdir()
        remove_partial(folder, [SAVED_FOLDER])
    except (OSError, ValueError, TypeError) as error:
        actual = f"'{saved}' ({getattr(error, 'strerror', None) or 'something else in it'})"
        raise CheckpointError(f"a saved run that can be put into '{folder}'", actual, "mend its rights") from error
