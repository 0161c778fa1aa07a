"""The step: what the engine lends to a surgery for one update, its only door to model, data, precision and ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from expunge.pair import Pair, Role
from expunge.surgery.direction import Direction, Scalar

CombineFn = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LinearCombination:
    """The combination w_f·L_f + w_r·L_r, whose slopes are known before the losses are.

    The engine spares an extra forward pass under micro-batches for it, and the whole pass of a side whose weight is
    the number 0 (a float, not a tensor: reading a tensor would wait for the device).

    Args:
        forget_weight: w_f.
        retain_weight: w_r.

    Examples:
        >>> import torch
        >>> float(LinearCombination(1.0, 0.5)(torch.tensor(2.0), torch.tensor(4.0)))
        4.0
    """

    forget_weight: Scalar
    retain_weight: Scalar

    def __call__(self, forget: Tensor, retain: Tensor) -> Tensor:
        """Return the combined loss."""
        return self.forget_weight * forget + self.retain_weight * retain


class Progress(NamedTuple):
    """Which update this is: ``step`` of ``total``, both over the whole stage, in epoch ``epoch``, counted from 0."""

    step: int = 0
    total: int = 1
    epoch: int = 0


class Step(Protocol):
    """One update, lent to a surgery.

    Attributes:
        lr: Learning rate η of this update, a tensor of one element.
        sizes: Number of forget and retain examples, over all micro-batches and ranks; 0 where a half is empty.
        progress: Which update of how many.
    """

    @property
    def lr(self) -> Tensor:
        """Learning rate η."""

    @property
    def sizes(self) -> Pair[Tensor]:
        """Examples on each side."""

    @property
    def progress(self) -> Progress:
        """Which update of how many."""

    def backward(self, combine: CombineFn) -> Pair[Tensor]:
        """Backpropagate ``combine(L_f, L_r)`` into the optimizer's gradients; return the losses before the move.

        This is one of the two ways to decide. ``combine`` is pure and may be called twice. The loss of a side whose
        weight is the number 0 is not computed and comes back as NaN.
        """
        ...

    def gradient(self, role: Role) -> Direction:
        """Return the gradient of one side's mean loss: unscaled, accumulated, synchronised. The caller owns it."""
        ...

    def extra_gradients(self, role: Role, count: int) -> Iterator[Direction]:
        """Yield the gradients of one side's mean loss on further batches, drawn anew for this update.

        No batch is lent twice in an update, whoever asks; further retain batches share no example with one another,
        with the update's batch or with the examples of ``loss(fresh=True)``. Which they are depends on seed and update
        alone. Fewer come where the side has no more examples. The caller owns the gradients; ask for the next when the
        last is used up. They are taken at the present weights, which inside ``BoolArray.choose`` are those after the
        optimizer's step: shift them back by the displacement.

        Raises:
            ConfigError: If the engine was given no further batches.
        """
        ...

    def loss(self, role: Role, *, independent: bool = False) -> Tensor:
        """Return one side's mean loss at the present weights, forward only, buffers untouched.

        Args:
            role: The side.
            independent: Measure on examples that are independent of this update's batch, where the engine was given
                some (it takes the first half of the next update's batch); the same batch with the same randomness else.
        """
        ...

    def hessian_vector_product(self, role: Role, direction: Direction) -> Direction:
        """Return the Hessian-vector product H·along of one side's loss; single process and full precision only."""
        ...

    def perturbed(self, direction: Direction, *, alpha: float = 1.0) -> AbstractContextManager[None]:
        """Move the weights by ``alpha`` · ``direction`` inside the context and restore them bit for bit after it.

        Once the context is entered ``direction`` is not looked at again.
        """
        ...

    def set_direction(self, direction: Direction) -> None:
        """Give the optimizer ``direction`` to descend: the other way to decide. The step owns it from here on."""
        ...
