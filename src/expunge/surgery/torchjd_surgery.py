"""Aggregated: the base of named surgeries whose weights come from TorchJD."""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar

import torch
from torch import Tensor

from expunge.surgery.gramian_surgery import GramianSurgery
from expunge.surgery.weighted import Weighting, make_torchjd_weighting


class TorchJDSurgery(GramianSurgery, ABC):
    """Combines both gradients by one of TorchJD's functions of their Gram matrix.

    These rules treat both sides alike: they know of two tasks, not of one to forget and one to preserve. TorchJD
    ("Jacobian Descent for Multi-Objective Optimization", arXiv 2406.16232) solves on the host, so that every update
    waits for the device. What it draws from the global generator is put back.

    Args:
        name: Of the weighting, without ``Weighting``.
        **settings: Of the weighting.

    Raises:
        MissingExtraError: If TorchJD or a solver that it needs is not installed.
        SurgeryError: If a setting is refused.
    """

    requires_sync: ClassVar[bool] = True
    function: Weighting

    def __init__(self, name: str, **settings: Any) -> None:
        super().__init__()
        # Not as a submodule: state that TorchJD keeps by itself changes on skipped steps too, and must not count.
        object.__setattr__(self, "function", make_torchjd_weighting(name, **settings))

    def weights(self, gram: Tensor) -> Tensor:
        """Return TorchJD's weights; NaN for gradients that overflowed, which solvers would refuse."""
        if not bool(gram.isfinite().all()):
            return gram.new_full((2,), torch.nan)
        with torch.random.fork_rng(devices=[]):
            return self.solve_weights(gram)

    def solve_weights(self, gram: Tensor) -> Tensor:
        """Return the weights from a finite Gram matrix."""
        return self.function(gram)
