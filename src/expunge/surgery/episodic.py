"""Episodic: descend both losses, and never against the forget gradient of the epoch's start."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import SurgeryError
from expunge.surgery.direction import Direction
from expunge.surgery.remembering import Remembering
from expunge.surgery.step import Step


class Episodic(Remembering):
    """Gradient episodic memory with one memory: the forget gradient is the constraint, as in ScissorHands.

    Paper: "Scissorhands: Scrub Data Influence via Connection Sensitivity in Networks" (Wu and Harandi, ECCV 2024, arXiv
    2401.06187), with the projection of "Gradient Episodic Memory for Continual Learning" (Lopez-Paz and Ranzato, 2017).

    Formula: with g = λ g_f + g_r and m the forget gradient at the first update of the epoch,

        d = g if ⟨g, m⟩ ≥ 0, else g + v m,    v = max(ρ, −⟨g, m⟩/‖m‖²)

    so that ⟨d, m⟩ ≥ 0, at every K-th update if it has forget examples, and d = g at the others. It is the mirror image
    of ``Unilateral``: here forgetting is the side that is not harmed.

    Args:
        forget: λ > 0. Default .05 (authors, a random tenth of CIFAR-10; .1 for a class
            of SVHN, 1 for CIFAR-100).
        margin: ρ ≥ 0, the least multiple of m that is added once there is a conflict. Default .5 (authors).
        every: K ≥ 1. Default 1; the authors' code has 10.

    Raises:
        SurgeryError: If a setting is out of its range.

    Examples:
        >>> Episodic(margin=0.0)
        Episodic(forget=0.05, margin=0.0, every=1)

    Differences from the authors' code: the gradients are those of all weights, there of the last stages; 1e-3 is not
    added to ‖m‖².
    """

    aliases: ClassVar[tuple[str, ...]] = ("gem",)
    paper: ClassVar[str] = "ScissorHands, arXiv 2401.06187; GEM, NIPS 2017"
    epoch: Tensor

    def __init__(self, forget: float = 0.05, margin: float = 0.5, every: int = 1) -> None:
        super().__init__()
        if not (forget > 0 and margin >= 0 and every >= 1):
            found = f"{forget}, {margin} and {every}"
            raise SurgeryError("a weight > 0, a margin ≥ 0 and a period ≥ 1", found, "change them")
        self.forget, self.margin, self.every = forget, margin, every
        self.register_buffer("epoch", torch.tensor(-1))
        self.memory: Direction | None = None

    def forward(self, step: Step) -> None:
        """Propose the sum, corrected where it conflicts with the memory."""
        forget, retain = step.gradient("forget"), step.gradient("retain")
        self.memory = self.remembered(forget, step.progress.epoch)
        total = forget.mul_(self.forget).add_(retain)
        if (step.progress.step + 1) % self.every == 0:
            multiple = self.multiple(total @ self.memory, self.memory @ self.memory)
            total.add_(self.memory * torch.where(step.sizes.forget > 0, multiple, 0.0))
        step.propose(total)

    def remembered(self, forget: Direction, epoch: int) -> Direction:
        """Return the memory if it is of this epoch, else the forget gradient; chosen without waiting for the device."""
        known = self.recall(0)
        if known is None:
            return forget.clone()
        current = self.epoch == epoch
        return Direction(torch.where(current.to(own.device), old, own) for old, own in zip(known, forget, strict=True))

    def multiple(self, inner: Tensor, square: Tensor) -> Tensor:
        """Return v from ⟨g, m⟩ and ‖m‖².

        Examples:
            >>> surgery = Episodic(margin=0.5)
            >>> [float(surgery.multiple(torch.tensor(inner), torch.tensor(2.0))) for inner in (3.0, -0.2, -4.0)]
            [0.0, 0.5, 2.0]
        """
        needed = (-inner / square).clamp(min=self.margin)
        return torch.where((inner < 0) & (square > 0), needed, 0.0)

    def follow_up(self, step: Step) -> None:
        """Keep the forget gradient of the first update of an epoch."""
        if self.memory is not None:
            self.remember(0, self.memory)
            self.epoch.fill_(step.progress.epoch)
