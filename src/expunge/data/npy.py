"""Arrays in ``.npy`` files, mapped and never unpickled: a header may promise anything."""

from __future__ import annotations

from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expunge.paths import read_bytes

_READ_ERRORS = (ValueError, EOFError, OverflowError, SyntaxError, TypeError, TokenError, RecursionError, MemoryError)
"""What numpy's reader of headers raises; it evaluates them as Python literals."""


def load_mmap(path: Path) -> NDArray[Any]:
    """Return the array in a file without reading more than its header; a size that is not there is refused.

    Examples:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "a.npy")
        >>> np.save(file, np.arange(3))
        >>> load_mmap(file).tolist()
        [0, 1, 2]
    """
    read_bytes(path, 0)  # a pipe would be waited for
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except _READ_ERRORS as error:
        raise ValueError(f"no array ({type(error).__name__})") from error
