"""KeepIfHarmless: only what is shown to be harmless may move."""

from __future__ import annotations

from typing import ClassVar

from expunge.masks.t_test import TTestMask


class KeepIfHarmless(TTestMask):
    """Keep a coordinate where batches show that moving it does not raise the retain loss.

    Paper: "Improving Unlearning with Model Updates Probably Aligned with Gradients" (arXiv 2511.02435) has the feasible
    update by masking and the statistical guarantee. The rule is a reconstruction [R]: the paper's was out of reach.

    Formula: m_i = 1 where z_i = sign(v_i) x̄_i/e_i ≥ t_{ν, 1−δ}, with v = (θ − θ⁺)/η the displacement, x̄_i and e_i mean
    and standard error of the retain gradient over further batches, t the Student quantile at ν degrees of freedom. A
    harmful coordinate (v_i g_r,i < 0) passes with probability δ at most, for independent batches, near-normal means.

    Near an interpolating optimum g_r ≈ 0 and only about δ of all coordinates pass. Below two batches none does.

    Args:
        delta: δ in (0, .5). Default .1.
        refresh_every: Updates from one further batch to the next. Default 10.
        initial_batches: Further batches at the first update. Default 8.
        decay: Of the exponential average; None weighs all batches alike. Default .9.
        bf16: Store the estimates in bfloat16. Default false.

    Raises:
        ConfigError: If a setting is out of its range; in the first update, if the step has no further batches.

    Examples:
        >>> KeepIfHarmless(delta=0.05)
        KeepIfHarmless(delta=0.05)
    """

    aliases: ClassVar[tuple[str, ...]] = ("strict",)

    def threshold(self) -> float:
        """Return t_{ν, 1−δ}."""
        return self.quantile()
