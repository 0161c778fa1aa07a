"""Finite: losses and weights that are NaN or infinite end a run with one sentence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from expunge.errors import NotFiniteError
from expunge.pair import Pair

CURE = "check the checkpoint and the inputs, or lower the learning rate"
MOST_SKIPS = 40
"""Halvings that bring the usual first loss scale, 2¹⁶, below any that helps."""


def is_finite(value: float) -> bool:
    """Return whether a number is neither NaN nor infinite."""
    return abs(value) < float("inf")


def refuse_not_finite(losses: Pair[float], where: str) -> None:
    """Refuse losses that are NaN or infinite.

    Raises:
        NotFiniteError: If one of them is.
    """
    if not all(map(is_finite, losses)):
        found = f"a forget loss of {losses.forget:.4g} and a retain loss of {losses.retain:.4g} {where}"
        raise NotFiniteError("finite losses", found, CURE)


def refuse_broken_weights(parameters: Sequence[Tensor]) -> None:
    """Refuse weights that are NaN or infinite: the last update has no loss after it that would show them.

    Raises:
        NotFiniteError: If one of them is.
    """
    if not bool(torch.stack([parameter.detach().isfinite().all() for parameter in parameters]).all()):
        raise NotFiniteError("finite weights", "NaN or infinite ones after the last update", CURE)


def refuse_standstill(skipped: int, total: int) -> None:
    """Refuse a run that gets nowhere because gradients overflow at every loss scale.

    Args:
        skipped: Successive updates that the optimiser has skipped.
        total: Updates of the run.

    Raises:
        NotFiniteError: If all were skipped, or more than halvings of the loss scale could cure.
    """
    if skipped >= min(MOST_SKIPS, total):
        found = f"that {skipped} successive updates were skipped"
        raise NotFiniteError("gradients that do not overflow in half precision", found, "use precision bf16 or fp32")
