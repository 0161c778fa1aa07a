import numpy as np
import pytest
import torch

from expunge.errors import DataError
from expunge.metrics import accuracy, per_class_accuracy


def test_per_class_accuracies_weighted_by_counts_give_the_accuracy():
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(200, 5)), rng.integers(0, 4, 200)
    each = per_class_accuracy(logits, targets)
    assert each[4] is None
    counts = np.bincount(targets)
    assert accuracy(logits, targets) == pytest.approx(np.average(each[:4], weights=counts))


def test_tensors_and_arrays_give_the_same():
    logits, targets = torch.randn(20, 3, generator=torch.manual_seed(0)), torch.arange(20) % 3
    assert accuracy(logits, targets) == accuracy(logits.numpy(), targets.numpy())


def test_no_examples_have_no_accuracy():
    assert accuracy(np.zeros((0, 3)), np.zeros(0, dtype=int)) is None
    assert per_class_accuracy(np.zeros((0, 3)), np.zeros(0, dtype=int)) == [None] * 3


@pytest.mark.parametrize(
    ("logits", "targets", "part"),
    [
        ([[1.0, 2.0]], [2], "labels from 2 to 2"),
        ([[1.0, 2.0]], [-1], "labels from -1 to -1"),
        ([[1.0, 2.0]], [0, 1], "shape (2,)"),
        ([[1.0, 2.0]], [0.0], "float64"),
        ([1.0, 2.0], [0], "shape (2,)"),
        ([[1.0, float("nan")]], [0], "NaN"),
        ([[float("-inf")] * 2], [0], "infinity"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_found(logits, targets, part):
    with pytest.raises(DataError) as caught:
        accuracy(logits, targets)
    assert part in str(caught.value)
