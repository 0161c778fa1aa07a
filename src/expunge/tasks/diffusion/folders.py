"""Folders that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from expunge.errors import CheckpointError


@contextmanager
def whole_folder(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder to write into, which becomes ``target`` if the body ends well.

    Args:
        target: The folder that is to be.
        overwrite: Whether a folder of that name may be replaced. Default false.

    Raises:
        CheckpointError: If the folder is there and may not be replaced.
    """
    if target.exists() and not overwrite:
        raise CheckpointError("a folder that is not there yet", f"'{target}'", "choose another, or overwrite=True")
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        yield temporary
        if target.exists():
            shutil.rmtree(target)
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
