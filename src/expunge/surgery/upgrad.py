"""UPGrad: the mean of both gradients, each projected so that it harms neither side."""

from __future__ import annotations

from typing import ClassVar

from expunge.surgery.torchjd_surgery import TorchJDSurgery


class UPGrad(TorchJDSurgery):
    """Project each gradient on the cone of directions that conflict with none, then average.

    Paper: "Jacobian Descent for Multi-Objective Optimization" (Quinton and Rey, arXiv 2406.16232).

    Formula: d = ½ π(g_f) + ½ π(g_r), π the projection on {d : ⟨g_f, d⟩ ≥ 0, ⟨g_r, d⟩ ≥ 0}.

    Raises:
        MissingExtraError: If TorchJD or quadprog is not installed.

    Examples:
        >>> import torch
        >>> UPGrad().weights(torch.eye(2, dtype=torch.float64)).tolist()
        [0.5, 0.5]

    Differences from the authors' code: it is the authors' code, with its regularization: the Gram matrix is divided by
    its trace, 1e-4 is added to its diagonal, and one whose trace is below 1e-4 counts as 0 (no projection then).
    """

    paper: ClassVar[str] = "arXiv 2406.16232"

    def __init__(self) -> None:
        super().__init__("UPGrad")
