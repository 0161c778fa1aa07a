"""ProbabilisticAgreement: what probably helps both sides may move, the more probably the further."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.masks.chunked import apply_in_chunks
from expunge.masks.feasible import FeasibleMask, validate_level
from expunge.masks.student_t import t_cdf
from expunge.pair import Role
from expunge.surgery import Direction, Moments, Step
from expunge.surgery.direction import to_float32


class ProbabilisticAgreement(FeasibleMask):
    """Keep a coordinate where the displacement probably descends both losses.

    Paper: "Improving Unlearning with Model Updates Probably Aligned with Gradients" (arXiv 2511.02435) has the feasible
    update by masking and the model of gradient noise. The rule is a reconstruction [R]: the paper's was out of reach.

    Formula: p_i = T_{ν_f}(σ_i z^f_i) · T_{ν_r}(σ_i z^r_i), σ = sign v, z = x̄/e for either side's gradient, T_ν the
    Student distribution function: the posterior probability under flat priors that v_i g_f,i > 0 and v_i g_r,i > 0. The
    hard mask keeps i where p_i ≥ 1 − δ, the soft one weighs the displacement by p (a "focus"). The probability that
    both gradients have the same sign, either one, is the sum over σ = ±1, ½[1 + erf(z^f/√2) erf(z^r/√2)] for normal
    means.

    With e_i = 0, T is 1 or 0 by sign, ½ where x̄_i = 0. Below two batches T = ½: the hard mask passes nothing, the soft
    one at most half. Forget batches are drawn from the whole forget set, and the memory is twice that of
    ``KeepUnlessHarmful``.

    Args:
        delta: δ in (0, .5), of the hard mask. Default .1.
        soft: Weigh instead of choosing. Default false.
        refresh_every: Updates from one further batch of each side to the next. Default 10.
        initial_batches: Further batches of each side at the first update. Default 8.
        decay: Of the exponential average; None weighs all batches alike. Default .9.
        bf16: Store the estimates in bfloat16. Default false.

    Raises:
        ConfigError: If a setting is out of its range; in the first update, if the step has no further batches.

    Examples:
        >>> ProbabilisticAgreement(soft=True)
        ProbabilisticAgreement(soft=True)
    """

    aliases: ClassVar[tuple[str, ...]] = ("focus", "agreement")
    sides: ClassVar[tuple[Role, ...]] = ("forget", "retain")

    def __init__(
        self,
        delta: float = 0.1,
        soft: bool = False,
        refresh_every: int = 10,
        initial_batches: int = 8,
        decay: float | None = 0.9,
        bf16: bool = False,
    ) -> None:
        super().__init__(refresh_every, initial_batches, decay, bf16)
        self.delta, self.soft = validate_level(delta), soft

    def compute_from_moments(self, displacement: Direction, step: Step) -> Direction:
        """Return p, or where it reaches 1 − δ."""
        forget, retain = self.get_moments("forget"), self.get_moments("retain")

        def rule(moved: Tensor, *stored: Tensor) -> Tensor:
            sign, (f, r) = moved.sign(), (stored[:2], stored[2:])
            both = positive_probability(sign, forget, *f).mul_(positive_probability(sign, retain, *r))
            return both if self.soft else both >= 1 - self.delta

        pieces = zip(displacement, forget.raw_moments(), retain.raw_moments(), strict=True)
        return Direction(apply_in_chunks(rule, moved, *f, *r) for moved, f, r in pieces)


def positive_probability(sign: Tensor, moments: Moments, mean: Tensor, variance: Tensor) -> Tensor:
    """Return T_ν(σz), the posterior probability that σ times the gradient is positive."""
    return t_cdf(sign * signal_to_noise(to_float32(mean), moments.standard_error(variance)), moments.degrees_of_freedom)


def signal_to_noise(mean: Tensor, error: Tensor) -> Tensor:
    """Return x̄/e; 0 where x̄ = 0, ±∞ where only e = 0.

    Examples:
        >>> signal_to_noise(torch.tensor([1.0, -1.0, 0.0]), torch.tensor([2.0, 0.0, 0.0])).tolist()
        [0.5, -inf, 0.0]
    """
    return torch.where(mean == 0, mean, mean / error)
