"""Scheduled: a surgery with a tolerance per step, given one that adds up to a budget."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import SurgeryError
from expunge.pair import Pair, Role
from expunge.surgery.step import Step
from expunge.surgery.surgery import Surgery
from expunge.surgery.tolerance_schedule import spread
from expunge.surgery.unilateral import Unilateral
from expunge.surgery.utility import UtilityLoss


class Scheduled(Surgery):
    """Drive the tolerance of another surgery by what is left of a budget for the whole run.

    The rule is ours [ours].

    Formula: before each update ε_t = max(0, τ − r)(1 − μ)/((T − t) η_t), r the estimated rise of L_r
    (``UtilityLoss``), T − t the updates left; see ``ToleranceSchedule``. Once overspent the inner rule has ε = 0:
    explicit surgery then holds the loss to first order and implicit surgery its level, but neither brings it back. For
    that there is ``Cumulative``.

    Args:
        surgery: A surgery with a buffer ``tolerance``. Default ``Unilateral()``.
        tolerance: τ ≥ 0 for the whole run, in the unit of L_r; a buffer that may be set later. Default .05.
        momentum: μ of the optimiser, in [0, 1), for rules whose ε bounds the vector that it is given (``Unilateral``,
            ``NoiseAware``); 0 for rules that measure what the move did (``Implicit``). Default 0.
        decay: Of the estimate, in [0, 1). Default .9.

    Raises:
        SurgeryError: If the surgery has no tolerance or a setting is out of its range.

    Examples:
        >>> Scheduled(tolerance=0.25)
        Scheduled(surgery=Unilateral(tolerance=0.0), tolerance=0.25, momentum=0.0, decay=0.9)
    """

    aliases: ClassVar[tuple[str, ...]] = ("tolerance_schedule",)
    paper: ClassVar[str] = "ours"
    tolerance: Tensor

    def __init__(
        self, surgery: Surgery | None = None, tolerance: float = 0.05, momentum: float = 0.0, decay: float = 0.9
    ) -> None:
        super().__init__()
        inner = Unilateral() if surgery is None else surgery
        if not isinstance(getattr(inner, "tolerance", None), Tensor):
            cure = "use unilateral, noise_aware or implicit"
            raise SurgeryError("a surgery with a tolerance", f"{type(inner).__name__}", cure)
        if tolerance < 0 or not (0 <= momentum < 1 and 0 <= decay < 1):
            found = f"tolerance {tolerance}, momentum {momentum}, decay {decay}"
            raise SurgeryError("a tolerance ≥ 0, momentum and decay in [0, 1)", found, "change the one that is not")
        self.surgery, self.momentum, self.decay = inner, momentum, decay
        self.distributed = inner.distributed
        self.utility = UtilityLoss(decay)
        self.register_buffer("tolerance", torch.tensor(float(tolerance)))
        self.seen: Tensor | None = None

    def admit(self, losses: Pair[float]) -> None:
        """Refuse what the inner surgery refuses."""
        self.surgery.admit(losses)

    def forward(self, step: Step) -> None:
        """Let the inner surgery decide with its share of what is left."""
        with self.lent(step):
            self.surgery(step)
        # Known already: every rule with a tolerance has evaluated the retain side here.
        self.seen = step.loss("retain")

    def follow_up(self, step: Step) -> None:
        """Let the inner surgery learn with the tolerance it decided with, then the estimate."""
        with self.lent(step):
            self.surgery.follow_up(step)
        if self.seen is not None:
            self.utility.see(self.seen, step.sizes.retain > 0)
            self.seen = None

    @contextmanager
    def lent(self, step: Step) -> Iterator[None]:
        """Give the inner surgery ε_t inside the context; its own tolerance stands in its state."""
        inner, own = self.surgery, self.surgery.tolerance
        remaining = (1 - self.momentum) * (self.tolerance - self.utility.rise())
        inner.tolerance = spread(remaining, step.progress, step.rate)
        try:
            yield
        finally:
            inner.tolerance = own

    def anchor(self, rise: float | Tensor) -> None:
        """Take over L_r(θ) − L_r(θ₀) as measured on held-out examples at the present weights."""
        self.utility.anchor(rise)

    def applied(self) -> Tensor | None:
        """Return the weight that the inner surgery gave."""
        return self.surgery.applied()

    def unseen(self) -> Role | None:
        """Return the side that the inner surgery does not look at."""
        return self.surgery.unseen()
