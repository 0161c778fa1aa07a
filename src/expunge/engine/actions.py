"""Guidance: what a run's driver may ask of the descent after an update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch.optim import Optimizer


class LoopAction(NamedTuple):
    """What is to happen before the next update; by default nothing.

    Args:
        lr_factor: Factor of the learning rate from now on. Default 1.
        weights: State to go back to, the optimizer's moments and the running mean of weights begun anew. Default:
            none, the weights stay where they are.
        stop: Whether the descent ends here. Default false.
    """

    lr_factor: float = 1.0
    weights: Mapping[str, Any] | None = None
    stop: bool = False

    def scale_lr(self, factor: float) -> LoopAction:
        """Return the same with a lower rate."""
        return self._replace(lr_factor=factor * self.lr_factor)

    def merge(self, other: LoopAction) -> LoopAction:
        """Return both actions as one; the other's state to go back to counts where it has one."""
        weights = self.weights if other.weights is None else other.weights
        return LoopAction(self.lr_factor * other.lr_factor, weights, self.stop or other.stop)

    def apply(self, optimizer: Optimizer) -> None:
        """Change an optimizer's rate and moments accordingly; a schedule goes on from the new rate."""
        for group in optimizer.param_groups:
            group["lr"] *= self.lr_factor
        if self.weights is not None:
            optimizer.state.clear()


CONTINUE = LoopAction()
