"""PCGrad: each gradient loses what conflicts with the other."""

from __future__ import annotations

from typing import ClassVar

from expunge.surgery.torchjd_surgery import TorchJDSurgery


class PCGrad(TorchJDSurgery):
    """Project each gradient on the plane normal to the other where they conflict, then add them.

    Paper: "Gradient Surgery for Multi-Task Learning" (Yu et al., NeurIPS 2020, arXiv 2001.06782).

    Formula: d = g_f′ + g_r′,  g_f′ = g_f − min(0, ⟨g_f, g_r⟩) g_r/‖g_r‖²,  g_r′ likewise with f and r exchanged. For
    two tasks the random order of the paper makes no difference.

    Raises:
        MissingExtraError: If TorchJD is not installed.

    Examples:
        >>> import torch
        >>> PCGrad().weights(torch.tensor([[1.0, -1.0], [-1.0, 2.0]], dtype=torch.float64)).tolist()
        [2.0, 1.5]

    Differences from the authors' code: none known; the rule is TorchJD's.
    """

    paper: ClassVar[str] = "arXiv 2001.06782"

    def __init__(self) -> None:
        super().__init__("PCGrad")
