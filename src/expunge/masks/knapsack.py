"""Knapsack: the mask that keeps most forgetting within a bound on the harm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import ConfigError
from expunge.masks.feasible import FeasibleMask
from expunge.pair import Role
from expunge.surgery import Direction, Step
from expunge.surgery.direction import inner_product

LOG_MULTIPLIER_RANGE = 28.0
"""Multipliers e^±28 (10^±12) times the ratio of the gradients' norms are searched."""
BISECTION_STEPS = 32
"""They leave the multiplier a relative error of 10⁻⁸, less than float32 shows."""


class Knapsack(FeasibleMask):
    """Keep the coordinates with most descent of the forget loss for their harm to the retain loss.

    Paper: "Improving Unlearning with Model Updates Probably Aligned with Gradients" (arXiv 2511.02435) has the feasible
    update by masking. The rule is ours [ours]: the solution of the paper's constrained problem over 0/1 masks without
    noise, up to one fractional coordinate.

    Formula: maximize Σ m_i v_i g_f,i subject to Σ m_i v_i g_r,i ≥ −ε over m ∈ {0, 1}: keep i where v_i g_f,i + λ v_i
    g_r,i > 0, with the least λ ≥ 0 that keeps the bound; v = (θ − θ⁺)/η, g_f and g_r the running means of further
    batches' gradients. If no finite λ does, what is harmful stays still and the rest moves.

    The bound holds for the estimates, not for the gradients: for that put ``SequentialTest`` around it. Of a forget
    descent with cosine −.2 between the gradients it keeps .88, the sign mask .37, the projection .96.

    Args:
        tolerance: ε ≥ 0 permits the retain loss to rise by η·ε in this update, to first order. Default 0.
        refresh_every: Updates from one further batch of each side to the next. Default 10.
        initial_batches: Further batches of each side at the first update. Default 8.
        decay: Of the exponential average; None weighs all batches alike. Default .9.
        bf16: Store the estimates in bfloat16. Default false.

    Raises:
        ConfigError: If a setting is out of its range; in the first update, if the step has no further batches.

    Examples:
        >>> Knapsack(tolerance=0.5)
        Knapsack(tolerance=0.5)
    """

    paper: ClassVar[str] = "ours, for arXiv 2511.02435"
    sides: ClassVar[tuple[Role, ...]] = ("forget", "retain")
    needs_variance: ClassVar[bool] = False
    tolerance: Tensor

    def __init__(
        self,
        tolerance: float = 0.0,
        refresh_every: int = 10,
        initial_batches: int = 8,
        decay: float | None = 0.9,
        bf16: bool = False,
    ) -> None:
        super().__init__(refresh_every, initial_batches, decay, bf16)
        if tolerance < 0:
            raise ConfigError("a tolerance ≥ 0", f"{tolerance}", "a positive tolerance permits harm, 0 permits none")
        self.register_buffer("tolerance", torch.tensor(float(tolerance)))

    def compute_from_moments(self, displacement: Direction, step: Step) -> Direction:
        """Return the solution for the running means."""
        forget, retain = (list(self.get_moments(side).means()) for side in ("forget", "retain"))
        return solve_knapsack(displacement, Direction(forget), Direction(retain), self.tolerance * step.lr)


def solve_knapsack(moved: Direction, forget: Direction, retain: Direction, allowance: Tensor) -> Direction:
    """Return the mask for a displacement d = ηv, gradients and the allowed first-order rise η·ε, as bool pieces.

    Examples:
        >>> d, f, r = (Direction([torch.tensor(x)]) for x in ([1.0, 1.0, 1.0], [3.0, 2.0, 1.0], [-2.0, -1.0, 1.5]))
        >>> solve_knapsack(d, f, r, torch.tensor(0.0)).pieces[0].tolist()
        [False, True, True]
    """
    harm = Direction(torch._foreach_mul(moved.pieces, retain.pieces))

    def select(multiplier: Tensor) -> Iterator[Tensor]:
        return (d * (f + multiplier * r) > 0 for d, f, r in zip(moved, forget, retain, strict=True))

    def is_within_bound(multiplier: Tensor) -> Tensor:
        masked = (m.to(h.dtype) for h, m in zip(harm, select(multiplier), strict=True))
        return inner_product(harm.pieces, masked) >= -allowance

    scale = forget.norm() / retain.norm()
    is_harmless = is_within_bound(scale * 0)
    bound_multiplier = scale * bisect_threshold(lambda level: is_within_bound(scale * level), scale)
    chosen = select(torch.where(is_harmless, 0.0, bound_multiplier))
    finite = is_harmless | is_within_bound(bound_multiplier)
    return Direction(torch.where(finite, c, h > 0) for c, h in zip(chosen, harm, strict=True))


def bisect_threshold(is_within_bound: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """Return by bisection the least level in e^±RANGE that keeps a bound; the greatest if none does."""
    low, high = like.new_full((), -LOG_MULTIPLIER_RANGE), like.new_full((), LOG_MULTIPLIER_RANGE)
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        enough = is_within_bound(middle.exp())
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return high.exp()
