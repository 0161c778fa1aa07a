"""MGDA: the shortest convex combination of both gradients."""

from __future__ import annotations

from typing import ClassVar

from expunge.surgery.torchjd_surgery import TorchJDSurgery


class MGDA(TorchJDSurgery):
    """Descend the point of the segment between both gradients that is nearest to 0.

    Paper: "Multiple-gradient descent algorithm" (Désidéri, 2012); as Algorithm 2 of "Multi-Task Learning as
    Multi-Objective Optimization" (Sener and Koltun, NeurIPS 2018).

    Formula: d = w g_f + (1 − w) g_r with w in [0, 1] minimizing ‖d‖, found by Frank and Wolfe's method, which for two
    gradients is exact after one line search. d harms neither side to first order; it vanishes where they oppose.

    Raises:
        MissingExtraError: If TorchJD is not installed.

    Examples:
        >>> import torch
        >>> MGDA().weights(torch.tensor([[1.0, 0.0], [0.0, 3.0]], dtype=torch.float64)).tolist()
        [0.75, 0.25]

    Differences from the authors' code: none known; the rule is TorchJD's.
    """

    paper: ClassVar[str] = "Désidéri 2012; Sener and Koltun, NeurIPS 2018"

    def __init__(self) -> None:
        super().__init__("MGDA")
