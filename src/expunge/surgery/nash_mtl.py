"""Nash-MTL: both sides bargain for the update."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from expunge.errors import MissingExtraError
from expunge.surgery.gramian_surgery import GramianSurgery
from expunge.surgery.step import Step
from expunge.surgery.weighted import build_torchjd


class NashMTL(GramianSurgery):
    """Descend Nash's bargaining solution: the direction that maximizes the product of both gains.

    Paper: "Multi-Task Learning as a Bargaining Game" (Navon et al., ICML 2022, arXiv 2202.01017).

    Formula: d = w_f g_f + w_r g_r with w > 0 solving G w = 1/w, G the Gram matrix, approached by at most
    ``max_iterations`` convex problems from the weights of the last update; d is shortened to the norm ``max_norm``.

    Args:
        max_norm: Largest ‖d‖; 0 for no limit. Default 1 (authors).
        max_iterations: Default 20 (authors).

    Raises:
        MissingExtraError: If TorchJD, cvxpy or ecos is not installed.
        SurgeryError: If a setting is refused.

    Differences from the authors' code: the weights of the last update are a buffer, and a step that the optimizer skips
    leaves them as they were; they are computed anew at every update.
    """

    aliases: ClassVar[tuple[str, ...]] = ("nash",)
    paper: ClassVar[str] = "arXiv 2202.01017"
    requires_sync: ClassVar[bool] = True
    previous: Tensor

    def __init__(self, max_norm: float = 1.0, max_iterations: int = 20) -> None:
        super().__init__()
        self.max_norm, self.max_iterations = max_norm, max_iterations
        self.register_buffer("previous", torch.ones(2))
        self.next_weights = self.previous
        self.make_solver()

    def make_solver(self) -> Any:
        """Return TorchJD's solver without a past."""
        try:
            from torchjd.aggregation import NashMTL as Solver
        except ImportError as error:
            raise MissingExtraError("TorchJD's weightings", "torchjd", "torchjd") from error
        settings = {
            "n_tasks": 2,
            "max_norm": self.max_norm,
            "update_weights_every": 1,
            "optim_niter": self.max_iterations,
        }
        return build_torchjd(Solver, "NashMTL", settings).weighting

    def weights(self, gram: Tensor) -> Tensor:
        """Return TorchJD's weights; NaN for gradients that overflowed, the last weights where both are 0."""
        if not bool(gram.isfinite().all()):
            return gram.new_full((2,), torch.nan)
        self.next_weights = self.previous
        if not bool(gram.any()):
            return self.previous.to(gram)
        solver = self.make_solver()
        solver.prvs_alpha = self.previous.cpu().numpy().copy()
        values, vectors = torch.linalg.eigh(gram)
        # Any matrix of two rows with this Gram matrix will do: the rule depends on nothing else.
        weights: Tensor = solver(vectors * values.clamp(min=0).sqrt())
        self.next_weights = torch.as_tensor(solver.prvs_alpha)
        return weights

    def after_step(self, step: Step) -> None:
        """Keep the weights to start from next time."""
        self.previous.copy_(self.next_weights)
