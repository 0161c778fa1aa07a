"""SignAgreement: only what both sides pull the same way may move."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from expunge.masks.feasible import FeasibleMask
from expunge.surgery import Direction, Step


class SignAgreement(FeasibleMask):
    """Keep a coordinate where the forget gradient has the sign of the running retain gradient.

    Paper: MUDMAN, "Robust LLM Unlearning with MUDMAN: Meta-Unlearning with Disruption Masking And Normalization"
    (arXiv 2506.12484), its disruption mask. Written from section 4's line "keep where sign(g_f) = sign(EMA of g_r)".

    Formula: m_i = 1 where g_f,i · ḡ_r,i > 0, with g_f the forget gradient of the update's own batch and ḡ_r the
    exponential average of further batches' retain gradients. It judges the gradient, as published; the guard lays it on
    the displacement, so that momentum and weight decay do not move what it keeps still.

    It costs a forget gradient at each update. Coordinates where either gradient is 0 stay still.

    Args:
        refresh_every: Updates from one further retain batch to the next. Default 1: at each.
        initial_batches: Further batches at the first update. Default 8.
        decay: Of the exponential average. Default .9.
        bf16: Store the average in bfloat16. Default false.

    Raises:
        ConfigError: If a setting is out of its range; in the first update, if the step has no further batches.

    Examples:
        >>> SignAgreement(decay=0.95)
        SignAgreement(decay=0.95)

    Choices of ours: a coordinate where both gradients are 0 does not count as agreement; the average is bias-corrected,
    and of batches that the update does not train on.
    """

    aliases: ClassVar[tuple[str, ...]] = ("mudman",)
    paper: ClassVar[str] = "MUDMAN, arXiv 2506.12484"
    needs_variance: ClassVar[bool] = False

    def __init__(
        self, refresh_every: int = 1, initial_batches: int = 8, decay: float | None = 0.9, bf16: bool = False
    ) -> None:
        super().__init__(refresh_every, initial_batches, decay, bf16)
        self.same_sign: list[Tensor] = []

    def observe(self, step: Step) -> None:
        """Compare the signs before the surgery decides."""
        super().observe(step)
        forget = step.gradient("forget")
        means = self.get_moments("retain").means()
        self.same_sign = [f.sign() * r.sign() > 0 for f, r in zip(forget, means, strict=True)]

    def compute_from_moments(self, displacement: Direction, step: Step) -> Direction:
        """Return where the signs agreed."""
        return Direction(self.same_sign)
