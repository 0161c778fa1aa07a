"""Aligned-MTL: the nearest orthogonal system of gradients."""

from __future__ import annotations

from typing import ClassVar, Literal

from expunge.surgery.torchjd_surgery import TorchJDSurgery


class AlignedMTL(TorchJDSurgery):
    """Descend the mean of gradients that were made orthogonal and of one length.

    Paper: "Independent Component Alignment for Multi-Task Learning" (Senushkin et al., CVPR 2023, arXiv 2305.19000).

    Formula: d = Jᵀ B (½, ½) with J the matrix of rows g_f, g_r, JJᵀ = V Λ Vᵀ and B = √σ V Λ^(−1/2) Vᵀ; σ is chosen from
    the eigenvalues Λ. Eigenvalues at rounding level are left out.

    Args:
        scale: ``min`` (default, the paper), ``median`` or ``rmse`` (the mean).

    Raises:
        MissingExtraError: If TorchJD is not installed.

    Examples:
        >>> import torch
        >>> AlignedMTL().weights(torch.diag(torch.tensor([4.0, 1.0], dtype=torch.float64))).tolist()
        [0.25, 0.5]

    Differences from the authors' code: none known; the rule is TorchJD's.
    """

    paper: ClassVar[str] = "arXiv 2305.19000"

    def __init__(self, scale: Literal["min", "median", "rmse"] = "min") -> None:
        super().__init__("AlignedMTL", scale_mode=scale)
        self.scale = scale
