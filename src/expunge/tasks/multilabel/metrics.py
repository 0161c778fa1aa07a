"""Average precision of each label, and its mean."""

from __future__ import annotations

import torch
from torch import Tensor

from expunge.batch import Examples, Predictor
from expunge.tasks.targets.predictions import collect_predictions


def mean_average_precision(predict: Predictor, examples: Examples) -> float:
    """Return the mean average precision: ``Budget(metric=mean_average_precision, max_drop=0.02)``.

    Formula: the mean of AP over the labels that some of the examples carry and some do not.

    Args:
        predict: The model, as ``unlearn`` reads it.
        examples: At least one.
    """
    return compute_mean(average_precisions(*collect_predictions(predict, examples))) or 0.0


def average_precisions(scores: Tensor, labels: Tensor) -> list[float | None]:
    """Return the average precision of each label; None for one that all examples carry, or none.

    Formula: AP = Σ_n (R_n − R_{n−1}) P_n, precision P and recall R at each threshold that is a score.

    Examples:
        >>> average_precisions(torch.tensor([[0.1], [0.4], [0.35], [0.8]]), torch.tensor([[0.0], [0.0], [1.0], [1.0]]))
        [0.8333333333333333]
    """
    return [average_precision(*pair) for pair in zip(scores.T, labels.T, strict=True)]


def average_precision(scores: Tensor, labels: Tensor) -> float | None:
    total = float(labels.sum())
    if not 0 < total < len(labels):
        return None
    ordered, order = scores.double().sort(descending=True, stable=True)
    hits = labels[order].double().cumsum(0)
    is_last = torch.cat([ordered[1:] != ordered[:-1], torch.ones(1, dtype=torch.bool)])
    recall = hits[is_last] / total
    precision = hits[is_last] / torch.arange(1, len(labels) + 1, dtype=torch.float64)[is_last]
    return float((recall.diff(prepend=torch.zeros(1, dtype=torch.float64)) * precision).sum())


def compute_mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
