"""EUPMUFastSurgery: EUPMU without the extra forward pass."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import SurgeryError
from expunge.pair import Pair
from expunge.surgery.dual import DecayedAdam
from expunge.surgery.eupmu import LOG_EPSILON
from expunge.surgery.eupmu_official import check_retain_nonnegative, side_fractions
from expunge.surgery.step import Step
from expunge.surgery.surgery import Surgery


class EUPMUFastSurgery(Surgery):
    """Descend both losses, the multiplier learnt from successive retain losses at no cost (EUPMU-fast).

    Paper: "Efficient Utility-Preserving Machine Unlearning with Implicit Gradient Surgery" (arXiv 2510.22124).

    Formula: the update descends (l_f + w·l_r)/(1 + w), l a side's mean loss times its share of the batch. Before it is
    used, w is moved by Adam with L2 decay γ along

        log l_r(θ_{t−1}; batch t−1) − log l_r(θ_t; batch t) − error

    The difference mixes the effect of the move with that of another batch.

    Args:
        margin: The *demanded* fall of log l_r per update, the opposite sign of our tolerance. Default .01 (authors).
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
    follow it and 1 + w stays positive; empty halves teach it nothing. A later file of theirs has log losses.
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
        self.relative = torch.tensor(float("nan"))
        self.retain_loss: Tensor | None = None

    def check_losses(self, losses: Pair[float]) -> None:
        """Refuse a negative retain loss, whose logarithm the dual needs."""
        check_retain_nonnegative(losses)

    def forward(self, step: Step) -> None:
        """Backpropagate the weighted mean, with the multiplier that this batch's retain loss moves first."""
        fractions = side_fractions(step)

        def combine(forget: Tensor, retain: Tensor) -> Tensor:
            weight = self.next_multiplier(retain.detach(), step)[0]
            return (fractions.forget * forget + weight * fractions.retain * retain) / (1 + weight)

        self.retain_loss = step.backward(combine).retain
        weight = self.next_multiplier(self.retain_loss, step)[0]
        self.relative = weight * fractions.retain / fractions.forget

    def after_step(self, step: Step) -> None:
        """Keep what the multiplier and Adam have learnt in the update."""
        if self.retain_loss is None:
            return
        log_loss = self.log_loss(self.retain_loss, step)
        self.multiplier, memory = self.next_multiplier(self.retain_loss, step)
        for name, value in memory.items():
            setattr(self.adam, name, value)
        self.previous = torch.where(step.sizes.retain > 0, log_loss.to(self.previous), self.previous)

    def relative_weight(self) -> Tensor | None:
        """Return the weight of g_r relative to g_f, the gradients of the mean losses."""
        return self.relative

    def log_loss(self, retain_loss: Tensor, step: Step) -> Tensor:
        """Return the logarithm of the retain loss times its share of the batch."""
        return (side_fractions(step).retain * retain_loss + LOG_EPSILON).log()

    def next_multiplier(self, retain_loss: Tensor, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        """Return w after the step that this batch teaches, and Adam's memory after it; changes nothing."""
        signal = self.previous - self.log_loss(retain_loss, step) - self.margin
        active = (step.sizes.retain > 0) & self.previous.isfinite()
        # An inactive comparison may hold NaN, and 0·NaN is NaN: replace it before it meets Adam.
        moved, memory = self.adam.propose(self.multiplier, torch.where(active, signal, torch.zeros_like(signal)))
        kept = {name: torch.where(active, value, getattr(self.adam, name)) for name, value in memory.items()}
        return torch.where(active, moved.clamp(min=0), self.multiplier), kept
