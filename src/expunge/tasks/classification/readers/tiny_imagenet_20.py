"""Twenty classes of Tiny ImageNet, read from Parquet files."""

from __future__ import annotations

import json
from pathlib import Path

from expunge.data import LabeledDataset, Normalize, crop_flip, find_dataset_folder
from expunge.tasks.classification.readers._images import build_dataset, corrupt_file_error
from expunge.tasks.classification.readers._parquet import read_images
from expunge.type_checks import check_argument_types

SCALE = Normalize((0.48496, 0.45720, 0.40205), (0.28115, 0.27530, 0.28772))
"""Mean and standard deviation of red, green and blue over the training pixels, between 0 and 1."""

_NUM_CLASSES = 20


@check_argument_types
def tiny_imagenet_20(root: Path | None = None, *, cache: bool = True) -> LabeledDataset:
    """Read photographs of 20 of Tiny ImageNet's 200 classes, 64 x 64 color, 10,000 + 1,000 (Stanford CS231n).

    Args:
        root: Folder of data sets, with ``tiny-imagenet-20`` in it, which holds ``train-*.parquet``, ``val-*.parquet``
            and ``classes.json``; by default that of ``EXPUNGE_DATA``. The validation part is the test set.
        cache: Whether decoded pixels are kept between runs (135 MB).

    Raises:
        DataError: If files are missing or damaged.
        MissingExtraError: If pyarrow or Pillow is not installed.
    """
    folder = find_dataset_folder(root, "tiny-imagenet-20")
    train = read_images(folder, "train-*.parquet", 64, cache=cache)
    test = read_images(folder, "val-*.parquet", 64, cache=cache)
    license_terms = "ImageNet's terms: non-commercial research and education only"
    names = _read_class_names(folder / "classes.json")
    return build_dataset(
        train,
        test,
        names,
        name="Tiny ImageNet, 20 classes",
        license_terms=license_terms,
        scale=SCALE,
        augment=crop_flip,
    )


def _read_class_names(path: Path) -> tuple[str, ...]:
    """Return the first of the words for each class."""
    try:
        entries = sorted(json.loads(path.read_text("utf-8")), key=lambda entry: entry["label"])
        names = tuple(str(entry["words"]).split(",")[0] for entry in entries)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise corrupt_file_error(path, "the classes' labels and words", type(error).__name__) from error
    if [entry["label"] for entry in entries] != list(range(_NUM_CLASSES)):
        raise corrupt_file_error(path, f"labels 0 to {_NUM_CLASSES - 1}", f"{len(entries)} entries")
    return names
