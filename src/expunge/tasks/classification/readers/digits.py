"""scikit-learn's handwritten digits, which come with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from expunge.data import LabeledDataset, Normalize, TensorExamples
from expunge.errors import DataError
from expunge.type_checks import check_argument_types

SCALE = Normalize((0.30526,), (0.37605,))
"""Mean and standard deviation of all pixels of the 1,797 digits, divided by their greatest value, 16."""


@check_argument_types
def digits(root: Path | None = None, *, test_share: float = 0.2, seed: int = 0) -> LabeledDataset:
    """Read handwritten digits 0 to 9, 8 x 8 gray, 1,797 in all (scikit-learn; UCI, Alpaydin and Kaynak, 1998).

    Args:
        root: Not used; the data comes with scikit-learn.
        test_share: Share of the examples that is set aside for testing, the same share of each class.
        seed: Seed of that draw.

    Raises:
        DataError: If the share leaves a class without examples on one side, or the seed is no whole number below 2³².

    Examples:
        >>> source = digits()
        >>> len(source.train), len(source.test), source.shape
        (1437, 360, (1, 8, 8))
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise DataError("a seed from 0 to 4294967295", f"{seed!r}", "choose a smaller one")
    if isinstance(test_share, int):  # scikit-learn would take it for a number of examples
        raise DataError("a test share between 0 and 1", f"{test_share}", "try 0.2")
    bunch = load_digits()
    try:
        parts = train_test_split(
            np.arange(len(bunch.target)), test_size=test_share, random_state=seed, stratify=bunch.target
        )
    except ValueError as error:
        raise DataError("a test share that leaves examples of every class", f"{test_share}", "try 0.2") from error
    names = tuple(str(name) for name in bunch.target_names)
    pixels = torch.from_numpy(bunch.images.astype(np.float32) / 16).unsqueeze(1)
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    train, test = (
        TensorExamples(pixels[part], labels[part], names, scale=SCALE)
        for part in map(torch.from_numpy, map(np.sort, parts))
    )
    return LabeledDataset(train, test, names, "digits", "CC BY 4.0 (UCI); with scikit-learn, BSD-3-Clause", (1, 8, 8))
