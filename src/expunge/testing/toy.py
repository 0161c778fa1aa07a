"""ToyStep: a step without a model, for losses that are written down as functions of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from expunge.errors import SurgeryError
from expunge.pair import Pair, Role
from expunge.surgery import CombineFn, Direction, Progress

Loss = Callable[[Sequence[Tensor]], Tensor]


class ToyStep:
    """A step on explicit loss functions, an independent and slow double of the engine's.

    Args:
        weights: Pieces of the weights; moved by ``descend`` in place.
        losses: Two functions of the pieces.
        lr: Learning rate. Default .1.
        sizes: Examples on each side. Default (1, 1).
        extra_losses: Gives the loss on the k-th further batch of a side. Default: the loss itself, which has no noise.

    Examples:
        >>> from expunge.surgery import Projection
        >>> step = ToyStep([torch.zeros(2)], Pair(quadratic([1.0, 1.0]), quadratic([-1.0, 0.0])))
        >>> Projection()(step)
        >>> step.decision.pieces[0].tolist()
        [0.0, -1.0]
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        losses: Pair[Loss],
        lr: float = 0.1,
        sizes: Pair[float] = Pair(1.0, 1.0),  # noqa: B008
        extra_losses: Callable[[Role, int], Loss] | None = None,
    ) -> None:
        self.weights = [piece.detach().clone() for piece in weights]
        self.losses = losses
        self.extra_losses = extra_losses or (lambda of, _: losses.of(of))
        self.extra_batches_used: dict[Role, int] = {"forget": 0, "retain": 0}
        self.lr, self.sizes, self.progress = torch.tensor(lr), sizes.map(torch.tensor), Progress()
        self.decisions: list[Direction] = []

    @property
    def decision(self) -> Direction:
        """The one direction that was decided.

        Raises:
            SurgeryError: If there was none, or more than one.
        """
        if len(self.decisions) != 1:
            actual = f"{len(self.decisions)} decisions"
            raise SurgeryError("exactly one backward or propose", actual, "mend the surgery's forward")
        return self.decisions[0]

    def descend(self) -> None:
        """Move the weights by −rate · decision."""
        torch._foreach_sub_(self.weights, (self.decision * self.lr).pieces)

    def backward(self, combine: CombineFn) -> Pair[Tensor]:
        """Differentiate the combination."""
        pieces = self._pieces()
        losses = self.losses.map(lambda loss: loss(pieces))
        self.decisions.append(differentiate(combine(*losses), pieces))
        return losses.map(Tensor.detach)

    def gradient(self, role: Role) -> Direction:
        """Differentiate one loss."""
        pieces = self._pieces()
        return differentiate(self.losses.of(role)(pieces), pieces)

    def extra_gradients(self, role: Role, count: int) -> Iterator[Direction]:
        """Differentiate the losses on further batches, each once."""
        for _ in range(count):
            pieces = self._pieces()
            loss = self.extra_losses(role, self.extra_batches_used[role])
            self.extra_batches_used[role] += 1
            yield differentiate(loss(pieces), pieces)

    def loss(self, role: Role, *, independent: bool = False) -> Tensor:
        """Evaluate one loss; a toy has no other examples."""
        return self.losses.of(role)(self.weights).detach()

    def hessian_vector_product(self, role: Role, direction: Direction) -> Direction:
        """Differentiate one loss twice."""
        pieces = self._pieces()
        slope = torch.autograd.grad(self.losses.of(role)(pieces), pieces, create_graph=True)
        return differentiate(torch.stack([(s * v).sum() for s, v in zip(slope, direction, strict=True)]).sum(), pieces)

    @contextmanager
    def perturbed(self, direction: Direction, *, alpha: float = 1.0) -> Iterator[None]:
        """Move the weights inside the context."""
        before, self.weights = self.weights, [w + alpha * d for w, d in zip(self.weights, direction, strict=True)]
        try:
            yield
        finally:
            self.weights = before

    def set_direction(self, direction: Direction) -> None:
        """Note the decision."""
        self.decisions.append(direction)

    def _pieces(self) -> list[Tensor]:
        return [piece.detach().clone().requires_grad_() for piece in self.weights]


def differentiate(value: Tensor, pieces: Sequence[Tensor]) -> Direction:
    """Return the gradient of a value, zero where it does not depend on a piece."""
    slopes = torch.autograd.grad(value, list(pieces), allow_unused=True)
    return Direction(torch.zeros_like(p) if s is None else s for p, s in zip(pieces, slopes, strict=True))


def quadratic(center: Sequence[float]) -> Loss:
    """Return x ↦ ½‖x − center‖² on the first piece."""
    target = torch.tensor(center)
    return lambda pieces: 0.5 * ((pieces[0] - target) ** 2).sum()


def linear(gradient: Tensor, offset: float = 1.0) -> Loss:
    """Return x ↦ offset + ⟨gradient, x⟩ on the first piece: a loss with that gradient everywhere."""
    return lambda pieces: offset + (gradient * pieces[0]).sum()
