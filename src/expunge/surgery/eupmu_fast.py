"""EUPMUFastSurgery: EUPMU without the extra forward pass."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import ObjectiveError, SurgeryError
from expunge.pair import Pair
from expunge.surgery.dual import DecayedAdam
from expunge.surgery.eupmu import LOG_EPSILON
from expunge.surgery.step import LinearCombination, Step
from expunge.surgery.surgery import Surgery


class EUPMUFastSurgery(Surgery):
    """Descend both losses, the multiplier learnt from successive retain losses at no cost (EUPMU-fast).

    Paper: "Efficient Utility-Preserving Machine Unlearning with Implicit Gradient Surgery" (arXiv 2510.22124).

    Formula: the update descends (L_f + w·L_r)/(1 + w); w is moved by Adam with L2 decay γ along

        log L_r(θ_{t−1}; batch t−1) − log L_r(θ_t; batch t) − error

    with L_f, L_r the mean losses. The difference mixes the effect of the move with that of another batch.

    Args:
        margin: The *demanded* fall of log L_r per update, the opposite sign of our tolerance. Default .01 (authors).
        dual_rate: Adam's rate for w. Default 1 (authors).
        decay: γ. Default .01 (authors).
        initial_multiplier: w_0 ≥ 0. Default 1 (authors).

    Raises:
        SurgeryError: If a setting other than ``margin`` is negative.
        ObjectiveError: If the first batch's retain loss is negative.

    Examples:
        >>> EUPMUFastSurgery().multiplier
        tensor(1.)

    Differences from the authors' code: w is projected on w ≥ 0, so that it does not wind up where the loss cannot
    follow it and 1 + w stays positive; empty halves teach it nothing.
    """

    name: ClassVar[str] = "eupmu_fast"
    aliases: ClassVar[tuple[str, ...]] = ("implicit_fast",)
    paper: ClassVar[str] = "EUPMU-fast, arXiv 2510.22124"
    multiplier: Tensor
    previous: Tensor

    def __init__(
        self, margin: float = 0.01, dual_rate: float = 1.0, decay: float = 0.01, initial_multiplier: float = 1.0
    ) -> None:
        super().__init__()
        if min(dual_rate, decay, initial_multiplier) < 0:
            raise SurgeryError(
                "dual_rate, decay and initial_multiplier ≥ 0",
                f"{dual_rate}, {decay} and {initial_multiplier}",
                "change them",
            )
        self.margin, self.dual_rate, self.decay, self.initial_multiplier = margin, dual_rate, decay, initial_multiplier
        self.adam = DecayedAdam(dual_rate, decay)
        self.register_buffer("multiplier", torch.tensor(float(initial_multiplier)))
        self.register_buffer("previous", torch.tensor(float("nan")))
        self.log_loss: Tensor | None = None

    def check_losses(self, losses: Pair[float]) -> None:
        """Refuse a negative retain loss, whose logarithm the dual needs."""
        if losses.retain < 0:
            actual = f"{losses.retain:.4g} at the first batch"
            raise ObjectiveError("a retain loss ≥ 0", actual, "use cross_entropy as the retain objective")

    def forward(self, step: Step) -> None:
        """Backpropagate the weighted mean."""
        forget_weight = 1 / (1 + self.multiplier)
        self.log_loss = (
            step.backward(LinearCombination(forget_weight, self.multiplier * forget_weight)).retain + LOG_EPSILON
        ).log()

    def after_step(self, step: Step) -> None:
        """Let Adam move w along the fall of log L_r since the previous batch."""
        if self.log_loss is None:
            return
        log_loss, seen = self.log_loss, step.sizes.retain > 0
        signal = self.previous - log_loss - self.margin
        comparable = seen & self.previous.isfinite()
        # An inactive comparison may hold NaN, and 0·NaN is NaN: replace it before it meets Adam.
        signal = torch.where(comparable, signal, torch.zeros_like(signal))
        self.multiplier = self.adam(self.multiplier, signal, comparable).clamp(min=0)
        self.previous = torch.where(seen, log_loss.to(self.previous), self.previous)
