"""GDR-GMA: both gradients rectified where they conflict, weighed by how well the retain loss stands."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import SurgeryError
from expunge.surgery.direction import Direction, piece_inner_product
from expunge.surgery.direction_memory import DirectionMemory
from expunge.surgery.step import Step


class GDRGMASurgery(DirectionMemory):
    """Rectify the directions of both gradients, then adjust their magnitudes.

    Paper: "GDR-GMA: Machine Unlearning via Direction-Rectified and Magnitude-Adjusted Gradients" (Lin et al., ACM MM
    2024).

    Formula: weight by weight tensor, with ρ(x; y) = x − min(0, ⟨x, y⟩) y/‖y‖²,

        x = ρ(ρ(g_f; g_r); m),   y = ρ(g_r; g_f),   d = w x + (1 − w) y,   w = 1/(1 + exp(γ (L_r − ℓ)))

    where m is the mean of those of the last K forget gradients that conflict with ρ(g_f; g_r), 0 if none does.

    Args:
        sharpness: γ > 0. Default 100 (authors).
        level: ℓ, the retain loss at which both sides weigh the same. Default .02 (authors).
        memory: K ≥ 0; each costs the memory of one gradient. Default 4; the authors' bank holds one epoch's.

    Raises:
        SurgeryError: If a setting is out of its range.

    Examples:
        >>> GDRGMASurgery(memory=2)
        GDRGMASurgery(sharpness=100.0, level=0.02, memory=2)

    Differences from the authors' code, from which this is taken (the paper's text was out of reach): both projections
    use the gradients as they came, where the code projects the second on the first one's result; the bank
    remembers whole gradients, where the code's remembers the last weight tensor alone; it is used from the second
    update, where the code waits for the second epoch.
    """

    name: ClassVar[str] = "gdr_gma"
    aliases: ClassVar[tuple[str, ...]] = ("gdrgma",)
    paper: ClassVar[str] = "Lin et al., ACM MM 2024"

    def __init__(self, sharpness: float = 100.0, level: float = 0.02, memory: int = 4) -> None:
        super().__init__()
        if not (sharpness > 0 and memory >= 0):
            raise SurgeryError("a sharpness > 0 and a memory ≥ 0", f"{sharpness} and {memory}", "change them")
        self.sharpness, self.level, self.memory = sharpness, level, memory
        self.latest: Direction | None = None
        self.relative: Tensor | None = None

    def forward(self, step: Step) -> None:
        """Propose the weighted sum of the rectified gradients."""
        forget, retain = step.gradient("forget"), step.gradient("retain")
        weight = torch.sigmoid(-self.sharpness * (step.loss("retain") - self.level))
        self.latest = forget.clone() if self.memory else None
        bank = [past for past in map(self.load_direction, range(self.memory)) if past is not None]
        first = (rectify(f, r) for f, r in zip(forget, retain, strict=True))
        first = (
            rectify(f, mean_conflicting(f, history))
            for f, history in zip(first, group_by_weight(bank, len(forget)), strict=True)
        )
        second = (rectify(r, f) for f, r in zip(forget, retain, strict=True))
        pieces = [weight * x + (1 - weight) * y for x, y in zip(first, second, strict=True)]
        self.relative = (1 - weight) / weight
        step.set_direction(Direction(pieces))

    def after_step(self, step: Step) -> None:
        """Remember the forget gradient, the newest first, and drop the oldest."""
        if self.latest is None:
            return
        for slot in reversed(range(1, self.memory)):
            older = self.load_direction(slot - 1)
            if older is not None:
                self.store_direction(slot, older)
        self.store_direction(0, self.latest)

    def relative_weight(self) -> Tensor | None:
        """Return (1 − w)/w of the last update."""
        return self.relative


def rectify(piece: Tensor, against: Tensor) -> Tensor:
    """Return ρ(own; other): what is left of a piece when its conflict with another is taken out.

    Examples:
        >>> rectify(torch.tensor([1.0, -1.0]), torch.tensor([0.0, 2.0])).tolist()
        [1.0, 0.0]
    """
    inner, square = piece_inner_product(piece, against), piece_inner_product(against, against)
    return piece - torch.where((inner < 0) & (square > 0), inner / square, 0.0).to(piece) * against


def mean_conflicting(current: Tensor, past: list[Tensor]) -> Tensor:
    """Return the mean of those past pieces that conflict with a piece; 0 if none does."""
    if not past:
        return torch.zeros_like(current)
    against = torch.stack([piece_inner_product(current, piece) < 0 for piece in past]).to(current)
    total = torch.stack([conflicts * piece for conflicts, piece in zip(against, past, strict=True)]).sum(0)
    return total / against.sum().clamp(min=1)


def group_by_weight(bank: list[Direction], count: int) -> list[list[Tensor]]:
    return [[past.pieces[index] for past in bank] for index in range(count)]
