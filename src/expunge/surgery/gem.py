"""GEM: descend both losses, and never against the forget gradient of the epoch's start."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import SurgeryError
from expunge.surgery.direction import Direction
from expunge.surgery.direction_memory import DirectionMemory
from expunge.surgery.step import Step


class GEM(DirectionMemory):
    """Gradient episodic memory with one memory: the forget gradient is the constraint, as in ScissorHands.

    Paper: "Scissorhands: Scrub Data Influence via Connection Sensitivity in Networks" (Wu and Harandi, ECCV 2024, arXiv
    2401.06187), with the projection of "Gradient Episodic Memory for Continual Learning" (Lopez-Paz and Ranzato, 2017).

    Formula: with g = λ g_f + g_r and m the forget gradient at the first update of the epoch,

        d = g if ⟨g, m⟩ ≥ 0, else g + v m,    v = max(ρ, −⟨g, m⟩/‖m‖²)

    so that ⟨d, m⟩ ≥ 0, at every K-th update if it has forget examples, and d = g at the others. It is the mirror image
    of ``Projection``: here forgetting is the side that is not harmed.

    Args:
        forget_weight: λ > 0. Default .05 (authors, a random tenth of CIFAR-10; .1 for a class
            of SVHN, 1 for CIFAR-100).
        margin: ρ ≥ 0, the least multiple of m that is added once there is a conflict. Default .5 (authors).
        project_every: K ≥ 1. Default 1; the authors' code has 10.

    Raises:
        SurgeryError: If a setting is out of its range.

    Examples:
        >>> GEM(margin=0.0)
        GEM(forget_weight=0.05, margin=0.0, project_every=1)

    Differences from the authors' code: the gradients are those of all weights, there of the last stages; 1e-3 is not
    added to ‖m‖².
    """

    aliases: ClassVar[tuple[str, ...]] = ("episodic",)
    paper: ClassVar[str] = "ScissorHands, arXiv 2401.06187; GEM, NIPS 2017"
    epoch: Tensor

    def __init__(self, forget_weight: float = 0.05, margin: float = 0.5, project_every: int = 1) -> None:
        super().__init__()
        if not (forget_weight > 0 and margin >= 0 and project_every >= 1):
            actual = f"{forget_weight}, {margin} and {project_every}"
            raise SurgeryError("a weight > 0, a margin ≥ 0 and a period ≥ 1", actual, "change them")
        self.forget_weight, self.margin, self.project_every = forget_weight, margin, project_every
        self.register_buffer("epoch", torch.tensor(-1))
        self.memory: Direction | None = None

    def forward(self, step: Step) -> None:
        """Propose the sum, corrected where it conflicts with the memory."""
        forget, retain = step.gradient("forget"), step.gradient("retain")
        self.memory = self.current_memory(forget, step.progress.epoch)
        total = forget.mul_(self.forget_weight).add_(retain)
        if (step.progress.step + 1) % self.project_every == 0:
            multiple = self.multiple(total @ self.memory, self.memory @ self.memory)
            total.add_(self.memory * torch.where(step.sizes.forget > 0, multiple, 0.0))
        step.set_direction(total)

    def current_memory(self, forget: Direction, epoch: int) -> Direction:
        """Return the memory if it is of this epoch, else the forget gradient; chosen without waiting for the device."""
        stored = self.load_direction(0)
        if stored is None:
            return forget.clone()
        current = self.epoch == epoch
        return Direction(torch.where(current.to(new.device), old, new) for old, new in zip(stored, forget, strict=True))

    def multiple(self, inner: Tensor, square: Tensor) -> Tensor:
        """Return v from ⟨g, m⟩ and ‖m‖².

        Examples:
            >>> surgery = GEM(margin=0.5)
            >>> [float(surgery.multiple(torch.tensor(inner), torch.tensor(2.0))) for inner in (3.0, -0.2, -4.0)]
            [0.0, 0.5, 2.0]
        """
        needed = (-inner / square).clamp(min=self.margin)
        return torch.where((inner < 0) & (square > 0), needed, 0.0)

    def after_step(self, step: Step) -> None:
        """Keep the forget gradient of the first update of an epoch."""
        if self.memory is not None:
            self.store_direction(0, self.memory)
            self.epoch.fill_(step.progress.epoch)
