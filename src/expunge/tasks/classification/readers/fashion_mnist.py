"""Fashion-MNIST, read from its four idx files."""

from __future__ import annotations

from pathlib import Path

from expunge.data import Affine, Source, find_root
from expunge.kinds import kinds_checked
from expunge.tasks.classification.readers._idx import read_idx_source

SCALE = Affine((0.28604,), (0.35302,))
"""Mean and standard deviation of the training pixels, between 0 and 1."""

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@kinds_checked
def fashion_mnist(root: Path | None = None) -> Source:
    """Read pictures of ten kinds of clothes, 28 x 28 grey, 60,000 + 10,000 (Xiao, Rasul and Vollgraf, 2017).

    Args:
        root: Folder of data sets, with ``FashionMNIST/raw`` in it; by default that of ``EXPUNGE_DATA``.

    Raises:
        DataError: If files are missing or damaged.
    """
    folder = find_root(root, "FashionMNIST", "fashion-mnist", "fashion_mnist")
    return read_idx_source(folder, CLASSES, "Fashion-MNIST", "MIT", SCALE)
