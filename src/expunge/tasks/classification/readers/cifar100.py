"""CIFAR-100, read from the authors' binary version."""

from __future__ import annotations

from pathlib import Path

from expunge.data import LabeledDataset, Normalize, crop_flip, find_dataset_folder
from expunge.tasks.classification.readers._binary import read_records
from expunge.tasks.classification.readers._images import build_dataset
from expunge.type_checks import check_argument_types

SCALE = Normalize((0.50707, 0.48655, 0.44092), (0.26733, 0.25644, 0.27615))
"""Mean and standard deviation of red, green and blue over the training pixels, between 0 and 1."""

CLASSES = tuple(
    """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
    man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
    pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
    tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm""".split()  # noqa: SIM905 -- a hundred lines of quotes would not read better
)
"""The hundred fine classes, in the order of ``fine_label_names.txt``."""


@check_argument_types
def cifar100(root: Path | None = None) -> LabeledDataset:
    """Read photographs of a hundred kinds of things, 32 x 32 color, 50,000 + 10,000 (Krizhevsky, 2009).

    Args:
        root: Folder of data sets, with ``cifar-100-binary`` (or ``cifar100``) in it, which holds ``train.bin`` and
            ``test.bin``; by default that of ``EXPUNGE_DATA``. Labels are the fine ones.

    Raises:
        DataError: If files are missing or damaged.
    """
    folder = find_dataset_folder(root, "cifar-100-binary", "cifar100")
    train, test = read_records([folder / "train.bin"], 2), read_records([folder / "test.bin"], 2)
    license_terms = "no licence stated by the authors, who ask for a citation; for research"
    return build_dataset(
        train, test, CLASSES, name="CIFAR-100", license_terms=license_terms, scale=SCALE, augment=crop_flip
    )
