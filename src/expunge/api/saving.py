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

from expunge.api.folder import FINISHED, SAVED, WRITTEN, RunFolder, check_folder, unwritable
from expunge.api.request.request_file import ADAPTER_FOLDER, UNLEARNED_FOLDER
from expunge.errors import CheckpointError
from expunge.files import half_folder, is_plain_folder, read_plain, remove_halves, sync
from expunge.tasks.diffusion.folders import replace_folder

_KNOWN = frozenset({*WRITTEN, UNLEARNED_FOLDER, ADAPTER_FOLDER})
"""What is moved or removed: a folder from elsewhere could name anything."""
_NAMES = "names.json"
_LONGEST = 10_000


@contextmanager
def saving(folder: Path | str, *, overwrite: bool, written: Sequence[str] = WRITTEN) -> Iterator[RunFolder]:
    """Lend a folder to write a run into, and put what was written in the place of an earlier run.

    Args:
        folder: Where the run is in the end; made if it is not there.
        overwrite: Whether an earlier run in it may be replaced.
        written: Files of an earlier run that must not stay beside the new ones.

    Raises:
        ConfigError: If the folder holds an earlier run that may not be replaced, or cannot be written.
    """
    place = Path(folder)
    finish_saving(place)
    check_folder(place, overwrite, written=written)
    made = not place.exists()
    try:
        place.mkdir(parents=True, exist_ok=True)
        try:
            with half_folder(place / SAVED) as temporary:
                yield RunFolder(temporary)
                names = [path.name for path in temporary.iterdir()]
                (temporary / _NAMES).write_text(json.dumps([names, [*written]]), encoding="utf-8")
                sync(temporary)
                temporary.replace(place / SAVED)
                sync(place)
            finish_saving(place)
        finally:
            if made:
                with suppress(OSError):  # the run is in it
                    place.rmdir()
    except OSError as error:
        raise unwritable(place, error.strerror or type(error).__name__) from error


def finish_saving(place: Path) -> None:
    """Move what a save has left aside into its place, the result last, and remove what it replaces.

    Raises:
        CheckpointError: If that cannot be done.
    """
    aside = place / SAVED
    if not is_plain_folder(aside):
        return
    try:
        inside = {path.name for path in aside.iterdir()}
        if _NAMES in inside:
            names, stale = ({*part} & _KNOWN for part in json.loads(read_plain(aside / _NAMES, _LONGEST)))
            for name in sorted(names & inside, key=lambda name: name == FINISHED):
                if is_plain_folder(aside / name):
                    replace_folder(aside / name, place / name)
                else:
                    os.replace(aside / name, place / name)
            for name in stale - names:
                (place / name).unlink(missing_ok=True)
            (aside / _NAMES).unlink()
        aside.rmdir()
        remove_halves(place, [SAVED])
    except (OSError, ValueError, TypeError) as error:
        found = f"'{aside}' ({getattr(error, 'strerror', None) or 'something else in it'})"
        raise CheckpointError(f"a saved run that can be put into '{place}'", found, "mend its rights") from error
