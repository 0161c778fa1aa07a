"""The customers of the soak test: 300 handwritten digits to train on, each the row of a customer, and 900 others."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from expunge.data import TensorExamples

NUM_TRAIN = 300
NUM_TEST = 900
ROWS_PER_CUSTOMER = 2


def load_customers(seed: int) -> dict[str, Any]:
    """Return training and test rows, with an id for each training row; the id of a customer is on two rows.

    Args:
        seed: Of the draw of the rows.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # Some digits of the set are drawn twice: a copy on both sides would be no held-out row.
    _, first = np.unique(bunch.images.reshape(len(bunch.images), -1), axis=0, return_index=True)
    order = np.random.default_rng(seed).permutation(np.sort(first))
    train, test = order[:NUM_TRAIN], order[NUM_TRAIN : NUM_TRAIN + NUM_TEST]
    pixels = torch.from_numpy(bunch.images.astype(np.float32) / 16).unsqueeze(1)
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    return {
        "train": TensorExamples(pixels[train], labels[train]),
        "test": TensorExamples(pixels[test], labels[test]),
        "class_names": [str(name) for name in bunch.target_names],
        "ids": customer_ids(seed),
    }


def customer_ids(seed: int) -> list[str]:
    """Return the customer's id of each training row, long enough not to occur in a file by chance."""
    return [f"customer-{seed:04d}-{row // ROWS_PER_CUSTOMER:04d}" for row in range(NUM_TRAIN)]


def pixel_bytes(seed: int, rows: Tensor) -> list[bytes]:
    """Return the bytes of training rows as they are in memory, to look for them in files."""
    train = load_customers(seed)["train"]
    return [train.inputs[row].contiguous().numpy().tobytes() for row in rows.tolist()]
