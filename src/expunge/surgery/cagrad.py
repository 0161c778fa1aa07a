"""CAGrad: near the mean gradient, as good as can be for the side that gains least."""

from __future__ import annotations

from typing import ClassVar

from expunge.surgery.torchjd_surgery import TorchJDSurgery


class CAGrad(TorchJDSurgery):
    """Raise the smaller of both first-order gains within a ball around the mean gradient.

    Paper: "Conflict-Averse Gradient Descent for Multi-task Learning" (Liu et al., NeurIPS 2021, arXiv 2110.14048).

    Formula: d = argmax_d min(⟨g_f, d⟩, ⟨g_r, d⟩) subject to ‖d − g₀‖ ≤ c ‖g₀‖, g₀ = (g_f + g_r)/2.

    Args:
        c: Radius, c ≥ 0, in units of ‖g₀‖. Default .4 (authors, NYU-v2 and Cityscapes).

    Raises:
        MissingExtraError: If TorchJD, cvxpy or clarabel is not installed.
        SurgeryError: If c is negative.

    Differences from the authors' code: TorchJD solves the dual by CLARABEL in place of ``scipy.optimize.minimize``.
    """

    paper: ClassVar[str] = "arXiv 2110.14048"

    def __init__(self, c: float = 0.4) -> None:
        super().__init__("CAGrad", c=c)
        self.c = c
