"""A source of data: training and test examples with the names of their classes, and where its files are found."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from expunge.batch import Examples
from expunge.data.examples import Subset
from expunge.errors import DataError, is_unicode
from expunge.paths import expand_home
from expunge.seeds import make_generator


@dataclass(frozen=True)
class LabeledDataset:
    """What a reader returns.

    Args:
        train: Training examples.
        test: Test examples.
        class_names: Name of each class, by its number.
        name: Name of the data set, for people.
        license_terms: Its terms of use, in a few words.
        shape: Channels, height and width of one input.

    Raises:
        DataError: If a name cannot be written as UTF-8.
    """

    train: Examples
    test: Examples
    class_names: tuple[str, ...]
    name: str
    license_terms: str
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        check_unicode_names(self.name, *self.class_names)

    def subset(self, n: int, seed: int = 0) -> LabeledDataset:
        """Return the source with ``n`` of its training examples, as many of each class as can be.

        Args:
            n: How many to keep, from 1 up to all.
            seed: Seed of the draw.

        Raises:
            DataError: If there are fewer.

        Examples:
            >>> from expunge.data import TensorExamples
            >>> train = TensorExamples(torch.rand(10, 1, 8, 8), [0, 0, 0, 0, 0, 0, 1, 1, 1, 2])
            >>> source = LabeledDataset(train, train, ("a", "b", "c"), "example", "none", (1, 8, 8))
            >>> source.subset(5).train.targets.bincount()
            tensor([2, 2, 1])
        """
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= len(self.train):
            raise DataError(f"a size from 1 to {len(self.train)}", f"{n}", "ask for fewer examples")
        return replace(self, train=Subset(self.train, _draw_balanced(self.train.targets, n, seed)))


def find_dataset_folder(data_dir: Path | str | None, folder: str, *others: str) -> Path:
    """Return the folder of a data set.

    Args:
        data_dir: The folder that holds all data sets, as ``--data-dir`` gives it; by default that of the environment
            variable ``EXPUNGE_DATA``.
        folder: Name of the data set's folder in it.
        others: Names that are tried next.

    Raises:
        DataError: If no folder of data sets is named, or the data set is not in it.
    """
    base = data_dir or os.environ.get("EXPUNGE_DATA")
    hint = "give --data-dir or set EXPUNGE_DATA to the folder that contains it"
    if not base:
        raise DataError(f"a folder of data sets with '{folder}' in it", "that none is named", hint)
    for name in (folder, *others):
        if os.path.isdir(path := expand_home(base) / name):  # a name may be too long for Path.is_dir
            return path
    raise DataError(f"the folder {' or '.join(map(repr, (folder, *others)))} in '{base}'", "none", hint)


def check_unicode_names(*names: str) -> None:
    """Refuse names that no report could be written with: those of folders in another encoding, halves of characters."""
    for name in names:
        if not is_unicode(str(name)):
            hint = "rename the class or folder; files of another system may need their names converted"
            raise DataError("names that can be written as UTF-8", f"'{name}'", hint)


def _draw_balanced(targets: Tensor, n: int, seed: int) -> Tensor:
    """Return ``n`` sorted positions: first one of every class, then a second one, and so on."""
    shuffled = torch.randperm(len(targets), generator=make_generator(seed))
    labels = targets[shuffled]
    by_class = labels.argsort(stable=True)
    counts = labels.bincount()
    starts = (counts.cumsum(0) - counts)[labels[by_class]]
    turn = torch.empty_like(labels).index_copy_(0, by_class, torch.arange(len(labels)) - starts)
    return shuffled[turn.argsort(stable=True)[:n]].sort().values
