"""Masks that compare z, the evidence that a coordinate of the displacement is harmless, with a threshold."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from expunge.masks.chunked import apply_in_chunks
from expunge.masks.feasible import FeasibleMask, validate_level
from expunge.masks.student_t import t_quantile
from expunge.surgery import Direction, Step
from expunge.surgery.direction import to_float32


class TTestMask(FeasibleMask, ABC):
    """Keeps i where z_i = sign(v_i) x̄_i/e_i reaches a threshold.

    With e_i = 0, z_i is ±∞ by sign, or 0 where x̄_i = 0. Below two batches nothing is known of the noise and z = 0
    everywhere, against an infinite quantile. A coordinate that does not move has z = 0.
    """

    def __init__(
        self,
        delta: float = 0.1,
        refresh_every: int = 10,
        initial_batches: int = 8,
        decay: float | None = 0.9,
        bf16: bool = False,
    ) -> None:
        super().__init__(refresh_every, initial_batches, decay, bf16)
        self.delta = validate_level(delta)

    @abstractmethod
    def threshold(self) -> float:
        """Return the least z that passes."""

    def quantile(self) -> float:
        """Return t_{ν, 1−δ} at the present degrees of freedom."""
        return t_quantile(self.delta, self.get_moments("retain").degrees_of_freedom)

    def compute_from_moments(self, displacement: Direction, step: Step) -> Direction:
        """Return where z reaches the threshold."""
        return self.compute_at_threshold(displacement, self.threshold())

    def compute_at_threshold(self, displacement: Direction, threshold: float) -> Direction:
        """Return where z ≥ threshold, a bool piece for each piece."""
        moments = self.get_moments("retain")

        def rule(moved: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
            return passes_threshold(moved, to_float32(mean), moments.standard_error(spread), threshold)

        return Direction(apply_in_chunks(rule, d, *e) for d, e in zip(displacement, moments.raw_moments(), strict=True))


def passes_threshold(displacement: Tensor, mean: Tensor, error: Tensor, threshold: float) -> Tensor:
    """Return where sign(d)·x̄ ≥ threshold·e: no quotient, so that e = 0 is no special case.

    The error's memory is used.

    Examples:
        >>> mean, error = torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0.4, 0.6, 0.0])
        >>> passes_threshold(torch.ones(3), mean, error, 2.0).tolist()
        [True, False, False]
    """
    if math.isinf(threshold):
        return torch.full_like(displacement, threshold < 0, dtype=torch.bool)
    pull = displacement.sign() * mean
    enough = pull >= error.mul_(threshold)
    return enough & (pull > 0) if threshold > 0 else enough
