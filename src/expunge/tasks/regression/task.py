"""Regression: models with one real output, or several."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Examples
from expunge.data import read_values
from expunge.metrics import Column
from expunge.tasks.targets.loss import PointwiseLoss
from expunge.tasks.targets.predictions import compute_r2
from expunge.tasks.targets.task import TargetTask

_R2 = "Coefficient of determination, mean over targets: 1 is perfect, 0 what the mean of these examples would get."


class SquaredError(PointwiseLoss):
    """Squared error in units of the spread of the retained targets.

    Formula: ((f_j(x) − y_j)/σ_j)², σ_j the standard deviation of target j over the retained examples. So the unit of
    the targets does not matter, each of several targets counts alike, and the mean loss is 1 − R² (with that σ).

    Args:
        scale: σ, ``(k,)``.

    Examples:
        >>> SquaredError(torch.tensor([2.0])).compute(torch.tensor([[4.0]]), torch.tensor([[1.0]]))
        tensor([2.2500])
    """

    def __init__(self, scale: Tensor) -> None:
        self.scale = scale

    def elementwise(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the squared errors, ``(n, k)``."""
        return self.difference(outputs, targets).square()

    def decode(self, outputs: Tensor) -> Tensor:
        """Return the outputs, which are predictions as they are."""
        return outputs

    def difference(self, values: Tensor, others: Tensor) -> Tensor:
        """Return the difference in units of σ, ``(n, k)``."""
        return (values - others) / self.scale.to(values)


class Regression(TargetTask):
    """Models that return one number, ``(n,)`` or ``(n, 1)``, or k of them, trained on the mean squared error.

    Targets stay in their own unit; the loss is measured in that of their spread, see ``SquaredError``. A budget is in
    R², ``Budget(metric=r2_score, max_drop=0.02)``, or of the loss, ``Budget(loss_increase=0.05)``. An example is
    forgotten where its error cannot be told from that on held-out examples.

    Examples:
        >>> Regression().name
        'regression'
    """

    utility_columns: ClassVar[tuple[Column, ...]] = (
        Column("r2_forget", "R² forget", "", f"{_R2} On the forgotten examples.", "match"),
        Column("r2_retain", "R² retain", "", f"{_R2} On the retained examples.", "higher"),
        Column("r2_test", "R² test", "", f"{_R2} On test examples.", "higher"),
    )

    def __init__(self) -> None:
        self.scale = torch.ones(1)

    @property
    def loss(self) -> PointwiseLoss:
        """The squared error in units of the retained targets' spread."""
        return SquaredError(self.scale)

    def prepare_examples(
        self, forget: Examples, retain: Examples, holdout: Examples | None
    ) -> tuple[Examples, Examples, Examples | None]:
        """Take note of the spread of the retained targets; of one that does not vary it is 1."""
        spread = read_values(retain).double().std(0, correction=0)
        self.scale = torch.where(spread > 0, spread, torch.ones_like(spread))
        return forget, retain, holdout

    def score_utility(self, outputs: Tensor, targets: Tensor) -> dict[str, float | None]:
        """Return R²."""
        return {"r2": compute_r2(outputs, targets)}
