"""EUPMUOfficialSurgery: EUPMU exactly as its authors released it, for comparison."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import SurgeryError
from expunge.pair import Pair
from expunge.surgery.dual import DecayedAdam
from expunge.surgery.eupmu import LOG_EPSILON, check_nonnegative
from expunge.surgery.step import Step
from expunge.surgery.surgery import Surgery


class EUPMUOfficialSurgery(Surgery):
    """Descend log losses with a dual that Adam moves and without projection (EUPMU as released, ``as_published``).

    Paper: "Efficient Utility-Preserving Machine Unlearning with Implicit Gradient Surgery" (arXiv 2510.22124).

    Formula: l = (share of the side in the batch) · (its mean loss); the update descends

        log(l_f + c) + max(w, 0)·log(l_r + c),    c = 1e-8

    and after it w is moved by Adam with L2 decay γ along log l_r(old) − log l_r(new) − error, both on the update's
    own batch. w is not a multiplier of the losses: λ = w·(l_f + c)/(l_r + c).

    Args:
        margin: The *demanded* fall of log l_r per update, the opposite sign of our tolerance: about −(η/l_r)·ε.
            Default .01 (authors, CIFAR-10).
        dual_rate: Adam's rate for w. Default 1 (authors, CIFAR-10).
        decay: γ. Default .01 (authors). It cannot be dropped: without net progress w settles at about error/γ.
        initial_weight: w_0. Default 0 (authors).

    Raises:
        SurgeryError: If the rate or the decay is negative.
        ObjectiveError: If a loss of the first batch is negative.

    Examples:
        >>> EUPMUOfficialSurgery(margin=0.05)
        EUPMUOfficialSurgery(margin=0.05, dual_rate=1.0, decay=0.01, initial_weight=0.0)

    Differences from the authors' code: clipping, where asked for, comes after the backward pass (theirs comes before
    it and clips nothing); a batch without forget or without retain examples contributes the other side's loss alone
    and teaches the dual nothing.
    """

    name: ClassVar[str] = "eupmu_official"
    aliases: ClassVar[tuple[str, ...]] = ("eupmu_as_published", "implicit_published")
    paper: ClassVar[str] = "EUPMU as released, arXiv 2510.22124"
    weight: Tensor
    relative: Tensor

    def __init__(
        self, margin: float = 0.01, dual_rate: float = 1.0, decay: float = 0.01, initial_weight: float = 0.0
    ) -> None:
        super().__init__()
        if min(dual_rate, decay) < 0:
            raise SurgeryError("a dual rate and a decay ≥ 0", f"{dual_rate} and {decay}", "change them")
        self.margin, self.dual_rate, self.decay, self.initial_weight = margin, dual_rate, decay, initial_weight
        self.adam = DecayedAdam(dual_rate, decay)
        self.register_buffer("weight", torch.tensor(float(initial_weight)))
        self.relative = torch.tensor(float("nan"))
        self.retain_loss_before: Tensor | None = None

    def check_losses(self, losses: Pair[float]) -> None:
        """Refuse negative losses."""
        check_nonnegative(losses)

    def forward(self, step: Step) -> None:
        """Backpropagate the sum of logarithms."""
        fractions = side_fractions(step)

        def combine(forget: Tensor, retain: Tensor) -> Tensor:
            forget_log = torch.where(fractions.forget > 0, (fractions.forget * forget + LOG_EPSILON).log(), 0.0)
            retain_log = torch.where(fractions.retain > 0, (fractions.retain * retain + LOG_EPSILON).log(), 0.0)
            return forget_log + self.weight.clamp(min=0) * retain_log

        losses = step.backward(combine)
        self.retain_loss_before = losses.retain
        scaled = Pair(*(fraction * loss + LOG_EPSILON for fraction, loss in zip(fractions, losses, strict=True)))
        self.relative = self.weight.clamp(min=0) * scaled.forget / scaled.retain * fractions.retain / fractions.forget

    def after_step(self, step: Step) -> None:
        """Evaluate the same batch again and let Adam move w."""
        fraction, before = side_fractions(step).retain, self.retain_loss_before
        after = step.loss("retain")
        before = after if before is None else before
        gain = (fraction * before + LOG_EPSILON).log() - (fraction * after + LOG_EPSILON).log()
        self.weight = self.adam(self.weight, gain - self.margin, fraction > 0)

    def relative_weight(self) -> Tensor | None:
        """Return λ = w·(l_f + c)/(l_r + c), the weight of g_r relative to g_f."""
        return self.relative


def side_fractions(step: Step) -> Pair[Tensor]:
    """Return each side's share of the batch."""
    total = step.sizes.forget + step.sizes.retain
    return Pair(step.sizes.forget / total, step.sizes.retain / total)
