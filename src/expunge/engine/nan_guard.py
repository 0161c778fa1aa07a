"""Finite: losses and weights that are NaN or infinite end a run with one sentence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from expunge.errors import NotFiniteError
from expunge.pair import Pair

NOT_FINITE_HINT = "check the checkpoint and the inputs, or lower the learning rate"
MAX_SKIPPED_STEPS = 40
"""Halvings that bring the usual first loss scale, 2¹⁶, below any that helps."""


class LastFiniteWeights:
    """The last weights of a model at which the losses are known to be finite, in the CPU's memory.

    Weights are noted where the device is waited for anyway, and turn out to be good once the loss of the update after
    them has been read; until then those before are kept too.

    Args:
        model: The model as it is at first.
        updates: Updates that it has behind it. Default 0.
    """

    def __init__(self, model: nn.Module, updates: int = 0) -> None:
        self.model = model
        self.staged = self.committed = (updates, self.copy_tensors())

    def changing_tensors(self) -> list[Tensor]:
        """Return what updates change: weights that are trained, and buffers."""
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        return [*weights, *self.model.buffers()]

    def copy_tensors(self) -> list[Tensor]:
        """Return copies of it."""
        return [value.detach().to("cpu", copy=True) for value in self.changing_tensors()]

    def commit(self) -> None:
        """Take the noted weights as good."""
        self.committed = self.staged

    def stage(self, updates: int) -> None:
        """Note the weights after so many updates."""
        self.staged = updates, self.copy_tensors()

    @torch.no_grad()
    def restore(self) -> int:
        """Put the good ones back, and return how many updates they have behind them."""
        updates, values = self.committed
        for value, good in zip(self.changing_tensors(), values, strict=True):
            value.copy_(good)
        return updates


def all_finite(values: Sequence[Tensor]) -> bool:
    """Return whether no tensor has a NaN or an infinity; the device is waited for once."""
    return not values or bool(torch.stack([value.isfinite().all() for value in values]).all())


def is_finite(value: float) -> bool:
    """Return whether a number is neither NaN nor infinite."""
    return abs(value) < float("inf")


def check_losses_finite(losses: Pair[float], position: str) -> None:
    """Refuse losses that are NaN or infinite."""
    if not all(map(is_finite, losses)):
        actual = f"a forget loss of {losses.forget:.4g} and a retain loss of {losses.retain:.4g} {position}"
        raise NotFiniteError("finite losses", actual, NOT_FINITE_HINT)


def check_weights_finite(parameters: Sequence[Tensor]) -> None:
    """Refuse weights that are NaN or infinite: the last update has no loss after it that would show them."""
    if not all_finite([parameter.detach() for parameter in parameters]):
        raise NotFiniteError("finite weights", "NaN or infinite ones after the last update", NOT_FINITE_HINT)


def check_progress(skipped: int, total: int) -> None:
    """Refuse a run that gets nowhere because gradients overflow at every loss scale."""
    if skipped >= min(MAX_SKIPPED_STEPS, total):
        actual = f"that {skipped} successive updates were skipped"
        raise NotFiniteError("gradients that do not overflow in half precision", actual, "use precision bf16 or fp32")
