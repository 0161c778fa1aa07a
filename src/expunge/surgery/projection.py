"""Projection: remove from the forget gradient what would raise the retain loss, and nothing else."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import SurgeryError
from expunge.surgery.gramian_surgery import GramianSurgery


class Projection(GramianSurgery):
    """Project the forget gradient on the half space of directions that do not harm the retain loss.

    Paper: "Efficient Utility-Preserving Machine Unlearning with Implicit Gradient Surgery" (arXiv 2510.22124), the
    explicit form.

    Formula: max_d ⟨g_f, d⟩ − ½‖d‖² subject to ⟨g_r, d⟩ ≥ −ε, solved by

        d* = g_f + λ* g_r,    λ* = max(0, (−⟨g_f, g_r⟩ − ε) / ‖g_r‖²)

    with g_f, g_r the gradients of the mean forget and retain losses, ε the tolerance and λ* the multiplier. Without a
    conflict (⟨g_f, g_r⟩ ≥ −ε) the update is the forget gradient itself; g_r = 0 gives g_f. The bound holds for this
    batch and to first order; on average over batches it is missed by λ tr Cov(g_r).

    Args:
        tolerance: ε ≥ 0 *permits* the retain loss to rise by at most η·ε in this update, η the learning rate; unit:
            loss per unit of learning rate. It bounds the vector that the optimizer is given: with heavy-ball momentum
            μ multiply it by 1 − μ. Default 0.

    Raises:
        SurgeryError: If the tolerance is negative.

    Examples:
        >>> Projection().weights(torch.tensor([[1.0, -1.0], [-1.0, 2.0]])).tolist()
        [1.0, 0.5]

    Differences from the authors' code (method key ``igs``): theirs weighs each gradient by its side's share of a mixed
    batch and adds 1e-8 to ‖g_r‖²; here the gradients are those of the mean losses and g_r = 0 is a case of its own.
    Theirs has no tolerance. Both clip the combined direction.
    """

    aliases: ClassVar[tuple[str, ...]] = ("explicit", "unilateral")
    paper: ClassVar[str] = "arXiv 2510.22124, explicit form"
    tolerance: Tensor

    def __init__(self, tolerance: float = 0.0) -> None:
        super().__init__()
        if tolerance < 0:
            raise SurgeryError("a tolerance ≥ 0", f"{tolerance}", "a positive tolerance permits harm, 0 permits none")
        self.register_buffer("tolerance", torch.tensor(float(tolerance)))

    def weights(self, gram: Tensor) -> Tensor:
        """Return (1, λ*)."""
        excess = (-gram[0, 1] - self.tolerance.to(gram)).clamp(min=0)
        # where, not a clamp of the denominator: an overflowed (NaN) norm must stay visible to the skip test.
        multiplier = torch.where(gram[1, 1] == 0, 0.0, excess / gram[1, 1])
        return torch.stack([torch.ones_like(multiplier), multiplier])
