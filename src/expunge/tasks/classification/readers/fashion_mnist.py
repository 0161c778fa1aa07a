"""Fashion-MNIST, read from its four idx files."""

from __future__ import annotations

from pathlib import Path

from expunge.data import LabeledDataset, Normalize, find_dataset_folder
from expunge.tasks.classification.readers._idx import read_idx_dataset
from expunge.type_checks import check_argument_types

SCALE = Normalize((0.28604,), (0.35302,))
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


@check_argument_types
def fashion_mnist(root: Path | None = None) -> LabeledDataset:
    """Read pictures of ten kinds of clothes, 28 x 28 gray, 60,000 + 10,000 (Xiao, Rasul and Vollgraf, 2017).

    Args:
        root: Folder of data sets, with ``FashionMNIST/raw`` in it; by default that of ``EXPUNGE_DATA``.

    Raises:
        DataError: If files are missing or damaged.
    """
    folder = find_dataset_folder(root, "FashionMNIST", "fashion-mnist", "fashion_mnist")
    return read_idx_dataset(folder, CLASSES, "Fashion-MNIST", "MIT", SCALE)
