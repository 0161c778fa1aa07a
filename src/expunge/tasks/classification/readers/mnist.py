"""MNIST, read from its four idx files."""

from __future__ import annotations

from pathlib import Path

from expunge.data import Affine, Source, find_root
from expunge.kinds import kinds_checked
from expunge.tasks.classification.readers._idx import read_idx_source

SCALE = Affine((0.13066,), (0.30811,))
"""Mean and standard deviation of the training pixels, between 0 and 1."""


@kinds_checked
def mnist(root: Path | None = None) -> Source:
    """Read handwritten digits 0 to 9, 28 x 28 grey, 60,000 + 10,000 (LeCun, Cortes and Burges, 1998).

    Args:
        root: Folder of data sets, with ``MNIST/raw`` in it; by default that of ``EXPUNGE_DATA``.

    Raises:
        DataError: If files are missing or damaged.
    """
    names = tuple(str(digit) for digit in range(10))
    licence = "no licence stated by the authors; commonly given as CC BY-SA 3.0"
    return read_idx_source(find_root(root, "MNIST", "mnist"), names, "MNIST", licence, SCALE)
