"""What a model shows by its own loss, whatever it predicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from expunge.batch import Examples, Predictor, Split
from expunge.budget import compute_losses, find_forgotten_classes
from expunge.data import Subset
from expunge.metrics import Column, run_held_out_test, run_recognition_test

LOSS_COLUMNS = (
    Column(
        "forget_loss",
        "forget loss",
        "",
        "Mean loss of the task on the forgotten examples. Target: that of a model \
that was retrained without them, near the test loss.",
        "match",
    ),
    Column(
        "retain_loss",
        "retain loss",
        "",
        "Mean loss of the task on the retained examples.",
        "lower",
    ),
    Column("test_loss", "test loss", "", "Mean loss of the task on test examples of what is kept.", "lower"),
    Column(
        "auc",
        "AUC",
        "",
        "Area under the ROC curve of the loss, forgotten examples against test examples, within \
classes where there are some. Target: 0.5, where they cannot be told apart. Below 0.5 the forgetting itself gives the \
examples away.",
        "match",
    ),
    Column(
        "recognized",
        "recognized",
        "%",
        "Share of the forgotten examples whose class or label, which nothing \
retained has, the model still recognizes. Target: that of a retrained model.",
        "match",
    ),
)
"""What ``measure_by_loss`` measures."""


class Recognition(NamedTuple):
    """What a model still knows of examples, by a measure of its family.

    Args:
        fraction: Of the examples that are recognized.
        limit: Up to which fraction they count as forgotten.
    """

    fraction: float
    limit: float


class ModelFigures(NamedTuple):
    """What a task measured of a model.

    Args:
        scores: Number of each column by its key; None where the examples cannot carry it.
        evidence: What stands behind them, plain values; ``held_out`` is a ``HeldOutTest``. Default none.
    """

    scores: Mapping[str, float | None]
    evidence: Mapping[str, Any] = {}


def measure_by_loss(
    predict: Predictor,
    split: Split,
    test: Examples,
    batch_size: int,
    measure_recognition: Callable[[Predictor, Examples], Recognition | None],
) -> ModelFigures:
    """Return the mean losses of a model, and whether forgotten examples can be told from test examples by it."""
    groups = torch.tensor(find_forgotten_classes(split), dtype=torch.int64)
    kept = select_kept(split, test)
    losses = {
        name: compute_losses(predict, side, batch_size)
        for name, side in (("forget", split.forget), ("retain", split.retain), ("test", kept))
        if len(side)
    }
    scores: dict[str, float | None] = {f"{name}_loss": float(values.mean()) for name, values in losses.items()}
    is_group = torch.isin(split.forget.targets, groups).numpy()
    evidence: dict[str, Any] = {}
    if is_group.any():
        forgotten = Subset(split.forget, is_group.nonzero()[0])
        recognition = measure_recognition(predict, forgotten)
        if recognition is not None:
            hits = round(recognition.fraction * len(forgotten))
            scores["recognized"] = 100 * recognition.fraction
            evidence["held_out"] = run_recognition_test(hits, len(forgotten), recognition.limit).as_dict()
    elif len(kept):
        labels = split.forget.targets.numpy(), kept.targets.numpy()
        outcome = run_held_out_test((-losses["forget"], -losses["test"]), None, labels)
        scores["auc"], evidence["held_out"] = outcome.auc, outcome.as_dict()
    return ModelFigures(scores, evidence)


def select_kept(split: Split, test: Examples) -> Subset:
    """Return the test examples of classes or groups that the request does not forget as a whole."""
    groups = torch.tensor(find_forgotten_classes(split), dtype=torch.int64)
    return Subset(test, (~torch.isin(test.targets, groups)).nonzero().flatten())
