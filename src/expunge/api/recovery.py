"""The last good weights of a run that broke off at a loss that is not finite: kept in its folder, and named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from expunge.api.folder import LAST_GOOD_FILE, RunFolder
from expunge.errors import ExpungeError, NotFiniteError
from expunge.weights import save_weights


@contextmanager
def save_last_good_on_error(folder: RunFolder) -> Iterator[None]:
    """Save the weights that a ``NotFiniteError`` carries, and say where they are."""
    try:
        yield
    except NotFiniteError as error:
        if isinstance(error.model, nn.Module):
            error.hint += f"; {save_last_good(error.model, folder)}"
        raise


def save_last_good(model: nn.Module, folder: RunFolder) -> str:
    """Save a model, and return what became of it in words."""
    path = folder.file_path(LAST_GOOD_FILE)
    try:
        save_weights(model, path, overwrite=True)
    except ExpungeError as error:
        return f"the last good weights could not be kept ({error.actual})"
    return f"the last good weights are in '{path}'"
