"""Street View House Numbers, read from the authors' MATLAB files of cropped digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from expunge.data import Affine, Source, find_root
from expunge.errors import DataError
from expunge.kinds import kinds_checked
from expunge.tasks.classification.readers._pictures import Labels, Pixels, damaged, source

SCALE = Affine((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))
"""Mean and standard deviation of red, green and blue over the training pixels, between 0 and 1, as commonly used."""

_MOST = 1_000_000


@kinds_checked
def svhn(root: Path | None = None) -> Source:
    """Read photographs of the digits of house numbers, 32 x 32 colour, 73,257 + 26,032 (Netzer et al., 2011).

    Args:
        root: Folder of data sets, with ``svhn`` in it, which holds ``train_32x32.mat`` and ``test_32x32.mat``; by
            default that of ``EXPUNGE_DATA``. The files' label 10 is the digit 0.

    Raises:
        DataError: If files are missing or damaged.
    """
    folder = find_root(root, "svhn", "SVHN")
    names = tuple(str(digit) for digit in range(10))
    train, test = _read(folder / "train_32x32.mat"), _read(folder / "test_32x32.mat")
    return source(train, test, names, name="SVHN", licence="for non-commercial use only", scale=SCALE)


def _read(path: Path) -> tuple[Pixels, Labels]:
    if not path.is_file():
        raise DataError(f"the file '{path.name}' in '{path.parent}'", "none", "copy the data set's files there")
    content = _loaded(path)
    pictures, labels = content["X"], content["y"].ravel()
    if pictures.dtype != np.uint8 or pictures.shape != (32, 32, 3, len(labels)) or labels.dtype.kind not in "iu":
        raise damaged(path, "bytes X (32, 32, 3, n) and n whole numbers y", f"{pictures.dtype} {pictures.shape}")
    if not np.isin(labels, range(1, 11)).all():
        raise damaged(path, "labels from 1 to 10", "others")
    return np.ascontiguousarray(pictures.transpose(3, 2, 0, 1)), labels.astype(np.int64) % 10


def _loaded(path: Path) -> dict[str, Any]:
    """Return the file's variables; their stated sizes are checked before they are read."""
    from scipy.io import loadmat, whosmat

    try:
        shapes = {name: shape for name, shape, _ in whosmat(path)}
        if (
            shapes.get("X", ())[:3] == (32, 32, 3)
            and shapes["X"][3] <= _MOST
            and np.prod(shapes.get("y", (0,))) <= _MOST
        ):
            content: dict[str, Any] = loadmat(path, variable_names=["X", "y"])
            return content if {"X", "y"} <= content.keys() else {"X": np.zeros(0), "y": np.zeros(0)}
        found = ", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items())) or "nothing"
    except Exception as error:  # a damaged file makes the parser fail in many ways, none of them its own error
        raise damaged(path, "a whole MATLAB file", type(error).__name__) from error
    raise damaged(path, f"X (32, 32, 3, n) and y with n up to {_MOST}", found)
