"""Finite: losses and weights that are NaN or infinite end a run with one sentence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from expunge.errors import NotFiniteError
from expunge.pair import Pair

CURE = "check the checkpoint and the inputs, or lower the learning rate"
MOST_SKIPS = 40
"""Halvings that bring the usual first loss scale, 2¹⁶, below any that helps."""


class LastGood:
    """The last weights of a model at which the losses are known to be finite, in the CPU's memory.

    Weights are noted where the device is waited for anyway, and turn out to be good once the loss of the update after
    them has been read; until then those before are kept too.

    Args:
        model: The model as it is at first.
        begun: Updates that it has behind it. Default 0.
    """

    def __init__(self, model: nn.Module, begun: int = 0) -> None:
        self.model = model
        self.noted = self.good = (begun, self.copies())

    def live(self) -> list[Tensor]:
        """Return what updates change: weights that are trained, and buffers."""
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        return [*weights, *self.model.buffers()]

    def copies(self) -> list[Tensor]:
        """Return copies of it."""
        return [value.detach().to("cpu", copy=True) for value in self.live()]

    def confirm(self) -> None:
        """Take the noted weights as good."""
        self.good = self.noted

    def note(self, updates: int) -> None:
        """Note the weights after so many updates."""
        self.noted = updates, self.copies()

    @torch.no_grad()
    def restore(self) -> int:
        """Put the good ones back, and return how many updates they have behind them."""
        updates, values = self.good
        for value, good in zip(self.live(), values, strict=True):
            value.copy_(good)
        return updates


def all_finite(values: Sequence[Tensor]) -> bool:
    """Return whether no tensor has a NaN or an infinity; the device is waited for once."""
    return not values or bool(torch.stack([value.isfinite().all() for value in values]).all())


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
    if not all_finite([parameter.detach() for parameter in parameters]):
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
