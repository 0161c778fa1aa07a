"""Street View House Numbers, read from the authors' MATLAB files of cropped digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from expunge.data import LabeledDataset, Normalize, find_dataset_folder
from expunge.errors import DataError
from expunge.tasks.classification.readers._images import Labels, Pixels, build_dataset, corrupt_file_error
from expunge.type_checks import check_argument_types

SCALE = Normalize((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))
"""Mean and standard deviation of red, green and blue over the training pixels, between 0 and 1, as commonly used."""

_MAX_EXAMPLES = 1_000_000


@check_argument_types
def svhn(root: Path | None = None) -> LabeledDataset:
    """Read photographs of the digits of house numbers, 32 x 32 color, 73,257 + 26,032 (Netzer et al., 2011).

    Args:
        root: Folder of data sets, with ``svhn`` in it, which holds ``train_32x32.mat`` and ``test_32x32.mat``; by
            default that of ``EXPUNGE_DATA``. The files' label 10 is the digit 0.

    Raises:
        DataError: If files are missing or damaged.
    """
    folder = find_dataset_folder(root, "svhn", "SVHN")
    names = tuple(str(digit) for digit in range(10))
    train, test = _read_split(folder / "train_32x32.mat"), _read_split(folder / "test_32x32.mat")
    return build_dataset(train, test, names, name="SVHN", license_terms="for non-commercial use only", scale=SCALE)


def _read_split(path: Path) -> tuple[Pixels, Labels]:
    if not path.is_file():
        raise DataError(f"the file '{path.name}' in '{path.parent}'", "none", "copy the data set's files there")
    content = _load_mat(path)
    pictures, labels = content["X"], content["y"].ravel()
    if pictures.dtype != np.uint8 or pictures.shape != (32, 32, 3, len(labels)) or labels.dtype.kind not in "iu":
        raise corrupt_file_error(
            path, "bytes X (32, 32, 3, n) and n whole numbers y", f"{pictures.dtype} {pictures.shape}"
        )
    if not np.isin(labels, range(1, 11)).all():
        raise corrupt_file_error(path, "labels from 1 to 10", "others")
    return np.ascontiguousarray(pictures.transpose(3, 2, 0, 1)), labels.astype(np.int64) % 10


def _load_mat(path: Path) -> dict[str, Any]:
    """Return the file's variables; their stated sizes are checked before they are read."""
    from scipy.io import loadmat, whosmat

    try:
        shapes = {name: shape for name, shape, _ in whosmat(path)}
        if (
            shapes.get("X", ())[:3] == (32, 32, 3)
            and shapes["X"][3] <= _MAX_EXAMPLES
            and np.prod(shapes.get("y", (0,))) <= _MAX_EXAMPLES
        ):
            content: dict[str, Any] = loadmat(path, variable_names=["X", "y"])
            return content if {"X", "y"} <= content.keys() else {"X": np.zeros(0), "y": np.zeros(0)}
        actual = ", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items())) or "nothing"
    except Exception as error:  # a damaged file makes the parser fail in many ways, none of them its own error
        raise corrupt_file_error(path, "a whole MATLAB file", type(error).__name__) from error
    raise corrupt_file_error(path, f"X (32, 32, 3, n) and y with n up to {_MAX_EXAMPLES}", actual)
