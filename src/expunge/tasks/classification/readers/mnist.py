"""MNIST, read from its four idx files."""

from __future__ import annotations

from pathlib import Path

from expunge.data import LabeledDataset, Normalize, find_dataset_folder
from expunge.tasks.classification.readers._idx import read_idx_dataset
from expunge.type_checks import check_argument_types

SCALE = Normalize((0.13066,), (0.30811,))
"""Mean and standard deviation of the training pixels, between 0 and 1."""


@check_argument_types
def mnist(root: Path | None = None) -> LabeledDataset:
    """Read handwritten digits 0 to 9, 28 x 28 gray, 60,000 + 10,000 (LeCun, Cortes and Burges, 1998).

    Args:
        root: Folder of data sets, with ``MNIST/raw`` in it; by default that of ``EXPUNGE_DATA``.

    Raises:
        DataError: If files are missing or damaged.
    """
    names = tuple(str(digit) for digit in range(10))
    license_terms = "no licence stated by the authors; commonly given as CC BY-SA 3.0"
    return read_idx_dataset(find_dataset_folder(root, "MNIST", "mnist"), names, "MNIST", license_terms, SCALE)
