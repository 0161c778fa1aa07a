"""KeepUnlessHarmful: only what is shown to be harmful is kept still."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from expunge.masks.t_test import TTestMask
from expunge.surgery import Direction, Step


class KeepUnlessHarmful(TTestMask):
    """Keep a coordinate unless batches show that moving it raises the retain loss: the default feasible mask.

    Paper: "Improving Unlearning with Model Updates Probably Aligned with Gradients" (arXiv 2511.02435) has the feasible
    update by masking and the statistical guarantee. The rule is a reconstruction [R]: the paper's was out of reach.

    Formula: m_i = 1 where z_i = sign(v_i) x̄_i/e_i ≥ −t_{ν, 1−δ}, with v = (θ − θ⁺)/η the displacement, x̄_i and e_i mean
    and standard error of the retain gradient over further batches, t the Student quantile at ν degrees of freedom. A
    safe coordinate (v_i g_r,i ≥ 0) is dropped with probability δ at most; a harmful one may pass with up to 1 − δ. So
    the mask alone bounds what is lost, not what is harmed: for that put ``SequentialTest`` around it.

    It is the default because near an interpolating optimum, where g_r ≈ 0, the strict rule keeps next to nothing. Below
    two batches everything passes.

    Args:
        delta: δ in (0, .5). Default .1.
        refresh_every: Updates from one further batch to the next. Default 10.
        initial_batches: Further batches at the first update. Default 8.
        decay: Of the exponential average; None weighs all batches alike. Default .9.
        bf16: Store the estimates in bfloat16. Default false.

    Raises:
        ConfigError: If a setting is out of its range; in the first update, if the step has no further batches.

    Examples:
        >>> KeepUnlessHarmful(decay=None)
        KeepUnlessHarmful(decay=None)
    """

    aliases: ClassVar[tuple[str, ...]] = ("feasible", "lenient")

    def threshold(self) -> float:
        """Return −t_{ν, 1−δ}."""
        return -self.quantile()

    def list_nested_masks(self, displacement: Direction, step: Step) -> Sequence[Direction]:
        """Return the masks of the thresholds t, 0 and −t: strict, by sign, lenient."""
        strict, by_sign = (self.compute_at_threshold(displacement, level) for level in (self.quantile(), 0.0))
        return [strict, by_sign, self.compute(displacement, step)]
