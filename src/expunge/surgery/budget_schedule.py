"""BudgetSchedule: a surgery with a tolerance per step, given one that adds up to a budget."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import SurgeryError
from expunge.pair import Pair, Role
from expunge.surgery.loss_estimate import LossIncreaseEstimate
from expunge.surgery.projection import Projection
from expunge.surgery.step import Step
from expunge.surgery.surgery import Surgery
from expunge.surgery.tolerance_schedule import spread_tolerance


class BudgetSchedule(Surgery):
    """Drive the tolerance of another surgery by what is left of a budget for the whole run.

    The rule is ours [ours].

    Formula: before each update ε_t = max(0, τ − r)(1 − μ)/((T − t) η_t), r the estimated rise of L_r
    (``LossIncreaseEstimate``), T − t the updates left; see ``ToleranceSchedule``. Once overspent the inner rule has
    ε = 0: explicit surgery then holds the loss to first order and implicit surgery its level, but neither brings it
    back. For that there is ``PIController``.

    Args:
        surgery: A surgery with a buffer ``tolerance``. Default ``Projection()``.
        tolerance: τ ≥ 0 for the whole run, in the unit of L_r; a buffer that may be set later. Default .05.
        momentum: μ of the optimizer, in [0, 1), for rules whose ε bounds the vector that it is given (``Projection``,
            ``RobustProjection``); 0 for rules that measure what the move did (``EUPMUSurgery``). Default 0.
        decay: Of the estimate, in [0, 1). Default .9.

    Raises:
        SurgeryError: If the surgery has no tolerance or a setting is out of its range.

    Examples:
        >>> BudgetSchedule(tolerance=0.25)
        BudgetSchedule(surgery=Projection(tolerance=0.0), tolerance=0.25, momentum=0.0, decay=0.9)
    """

    aliases: ClassVar[tuple[str, ...]] = ("tolerance_schedule", "scheduled")
    paper: ClassVar[str] = "ours"
    tolerance: Tensor

    def __init__(
        self, surgery: Surgery | None = None, tolerance: float = 0.05, momentum: float = 0.0, decay: float = 0.9
    ) -> None:
        super().__init__()
        inner = Projection() if surgery is None else surgery
        if not isinstance(getattr(inner, "tolerance", None), Tensor):
            hint = "use projection, robust_projection or eupmu"
            raise SurgeryError("a surgery with a tolerance", f"{type(inner).__name__}", hint)
        if tolerance < 0 or not (0 <= momentum < 1 and 0 <= decay < 1):
            actual = f"tolerance {tolerance}, momentum {momentum}, decay {decay}"
            raise SurgeryError("a tolerance ≥ 0, momentum and decay in [0, 1)", actual, "change the one that is not")
        self.surgery, self.momentum, self.decay = inner, momentum, decay
        self.distributed = inner.distributed
        self.increase_estimate = LossIncreaseEstimate(decay)
        self.register_buffer("tolerance", torch.tensor(float(tolerance)))
        self.retain_loss: Tensor | None = None

    def check_losses(self, losses: Pair[float]) -> None:
        """Refuse what the inner surgery refuses."""
        self.surgery.check_losses(losses)

    def forward(self, step: Step) -> None:
        """Let the inner surgery decide with its share of what is left."""
        with self._with_tolerance(step):
            self.surgery(step)
        # Known already: every rule with a tolerance has evaluated the retain side here.
        self.retain_loss = step.loss("retain")

    def after_step(self, step: Step) -> None:
        """Let the inner surgery learn with the tolerance it decided with, then the estimate."""
        with self._with_tolerance(step):
            self.surgery.after_step(step)
        if self.retain_loss is not None:
            self.increase_estimate.update(self.retain_loss, step.sizes.retain > 0)
            self.retain_loss = None

    @contextmanager
    def _with_tolerance(self, step: Step) -> Iterator[None]:
        """Give the inner surgery ε_t inside the context; its own tolerance stands in its state."""
        inner, own_tolerance = self.surgery, self.surgery.tolerance
        remaining = (1 - self.momentum) * (self.tolerance - self.increase_estimate.value())
        inner.tolerance = spread_tolerance(remaining, step.progress, step.lr)
        try:
            yield
        finally:
            inner.tolerance = own_tolerance

    def set_measured_increase(self, increase: float | Tensor) -> None:
        """Take over L_r(θ) − L_r(θ₀) as measured on held-out examples at the present weights."""
        self.increase_estimate.set_measured_increase(increase)

    def relative_weight(self) -> Tensor | None:
        """Return the weight that the inner surgery gave."""
        return self.surgery.relative_weight()

    def get_unevaluated_side(self) -> Role | None:
        """Return the side that the inner surgery does not look at."""
        return self.surgery.get_unevaluated_side()
