"""CIFAR-10, read from Parquet shards or from the authors' binary version."""

from __future__ import annotations

from pathlib import Path

from expunge.data import LabeledDataset, Normalize, crop_flip, find_dataset_folder
from expunge.tasks.classification.readers._binary import read_records
from expunge.tasks.classification.readers._images import build_dataset
from expunge.tasks.classification.readers._parquet import read_images
from expunge.type_checks import check_argument_types

SCALE = Normalize((0.49140, 0.48216, 0.44653), (0.24703, 0.24349, 0.26159))
"""Mean and standard deviation of red, green and blue over the training pixels, between 0 and 1."""

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@check_argument_types
def cifar10(root: Path | None = None, *, cache: bool = True) -> LabeledDataset:
    """Read photographs of ten kinds of things, 32 x 32 color, 50,000 + 10,000 (Krizhevsky, 2009).

    Args:
        root: Folder of data sets, by default that of ``EXPUNGE_DATA``. In it ``cifar10`` with shards
            ``train-*.parquet`` and ``test-*.parquet``, or ``cifar-10-batches-bin`` with ``data_batch_1.bin`` to
            ``data_batch_5.bin`` and ``test_batch.bin``.
        cache: Whether decoded pixels are kept between runs (150 MB; shards only).

    Raises:
        DataError: If files are missing or damaged.
        MissingExtraError: If shards are to be read and pyarrow or Pillow is not installed.
    """
    folder = find_dataset_folder(root, "cifar10", "cifar-10-batches-bin")
    if any(folder.glob("*.bin")):
        train = read_records([folder / f"data_batch_{number}.bin" for number in range(1, 6)], 1)
        test = read_records([folder / "test_batch.bin"], 1)
    else:
        train = read_images(folder, "train-*.parquet", 32, cache=cache)
        test = read_images(folder, "test-*.parquet", 32, cache=cache)
    license_terms = "no licence stated by the authors, who ask for a citation; for research"
    return build_dataset(
        train, test, CLASSES, name="CIFAR-10", license_terms=license_terms, scale=SCALE, augment=crop_flip
    )
