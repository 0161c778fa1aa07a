"""ImplicitPublished: EUPMU exactly as its authors released it, for comparison."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import SurgeryError
from expunge.pair import Pair
from expunge.surgery.dual import DecayedAdam
from expunge.surgery.implicit import SMALLEST, refuse_negative
from expunge.surgery.step import Step
from expunge.surgery.surgery import Surgery


class ImplicitPublished(Surgery):
    """Descend log losses with a dual that Adam moves and without projection (EUPMU as released, ``as_published``).

    Paper: "Efficient Utility-Preserving Machine Unlearning with Implicit Gradient Surgery" (arXiv 2510.22124).

    Formula: l = (share of the side in the batch) · (its mean loss); the update descends

        log(l_f + c) + max(w, 0)·log(l_r + c),    c = 1e-8

    and after it w is moved by Adam with L2 decay γ along log l_r(old) − log l_r(new) − error, both on the update's
    own batch. w is not a multiplier of the losses: λ = w·(l_f + c)/(l_r + c).

    Args:
        error: The *demanded* fall of log l_r per update, the opposite sign of our tolerance: about −(η/l_r)·ε.
            Default .01 (authors, CIFAR-10).
        dual_rate: Adam's rate for w. Default 1 (authors, CIFAR-10).
        decay: γ. Default .01 (authors). It cannot be dropped: without net progress w settles at about error/γ.
        start: w_0. Default 0 (authors).

    Raises:
        SurgeryError: If the rate or the decay is negative.
        ObjectiveError: If a loss of the first batch is negative.

    Examples:
        >>> ImplicitPublished(error=0.05)
        ImplicitPublished(error=0.05, dual_rate=1.0, decay=0.01, start=0.0)

    Differences from the authors' code: clipping, where asked for, comes after the backward pass (theirs comes before
    it and clips nothing); a batch without forget or without retain examples contributes the other side's loss alone
    and teaches the dual nothing.
    """

    aliases: ClassVar[tuple[str, ...]] = ("eupmu_as_published",)
    paper: ClassVar[str] = "EUPMU as released, arXiv 2510.22124"
    weight: Tensor
    relative: Tensor

    def __init__(self, error: float = 0.01, dual_rate: float = 1.0, decay: float = 0.01, start: float = 0.0) -> None:
        super().__init__()
        if min(dual_rate, decay) < 0:
            raise SurgeryError("a dual rate and a decay ≥ 0", f"{dual_rate} and {decay}", "change them")
        self.error, self.dual_rate, self.decay, self.start = error, dual_rate, decay, start
        self.adam = DecayedAdam(dual_rate, decay)
        self.register_buffer("weight", torch.tensor(float(start)))
        self.relative = torch.tensor(float("nan"))
        self.before: Tensor | None = None

    def admit(self, losses: Pair[float]) -> None:
        """Refuse negative losses."""
        refuse_negative(losses)

    def forward(self, step: Step) -> None:
        """Backpropagate the sum of logarithms."""
        shares = published_shares(step)

        def combine(forget: Tensor, retain: Tensor) -> Tensor:
            forget_log = torch.where(shares.forget > 0, (shares.forget * forget + SMALLEST).log(), 0.0)
            retain_log = torch.where(shares.retain > 0, (shares.retain * retain + SMALLEST).log(), 0.0)
            return forget_log + self.weight.clamp(min=0) * retain_log

        losses = step.backward(combine)
        self.before = losses.retain
        scaled = Pair(*(share * loss + SMALLEST for share, loss in zip(shares, losses, strict=True)))
        self.relative = self.weight.clamp(min=0) * scaled.forget / scaled.retain * shares.retain / shares.forget

    def follow_up(self, step: Step) -> None:
        """Evaluate the same batch again and let Adam move w."""
        share, before = published_shares(step).retain, self.before
        after = step.loss("retain")
        before = after if before is None else before
        gain = (share * before + SMALLEST).log() - (share * after + SMALLEST).log()
        self.weight = self.adam(self.weight, gain - self.error, share > 0)

    def applied(self) -> Tensor | None:
        """Return λ = w·(l_f + c)/(l_r + c), the weight of g_r relative to g_f."""
        return self.relative


def published_shares(step: Step) -> Pair[Tensor]:
    """Return each side's share of the batch."""
    total = step.sizes.forget + step.sizes.retain
    return Pair(step.sizes.forget / total, step.sizes.retain / total)
