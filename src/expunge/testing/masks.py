"""Contracts that every mask keeps, as functions that raise ``ContractError`` with what was broken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from expunge.batch import Predictor, Split
from expunge.masks import Mask
from expunge.surgery import Direction, Step, WeightedSum
from expunge.testing.conformance import check_same_state, check_same_weights, contract_error, run_updates
from expunge.testing.toy_problem import CLASSIFIER, ToyProblem

MakeMask = Callable[[], Mask]


class CheckedMask(Mask):
    """A mask whose answers are checked at every update.

    Args:
        mask: The mask.
    """

    def __init__(self, mask: Mask) -> None:
        super().__init__()
        self.mask = mask
        self.weights_before: list[Tensor] = []
        self.frozen: list[Tensor] = []

    def prepare(self, original: Predictor, data: Split) -> None:
        """Remember the weights."""
        self.mask.prepare(original, data)
        self.weights_before = [
            weight.detach().clone() for weight in original.model.parameters() if weight.requires_grad
        ]

    def observe(self, step: Step) -> None:
        """Look at an update as the mask does."""
        self.mask.observe(step)

    def on_gradients(self, weights: Sequence[Tensor], step: Step) -> None:
        """Change the gradients as the mask does."""
        self.mask.on_gradients(weights, step)

    def compute(self, displacement: Direction, step: Step) -> Direction:
        """Check the weights that the mask gives."""
        chosen = self.mask.compute(displacement, step)
        if [piece.shape for piece in chosen] != [piece.shape for piece in displacement]:
            raise contract_error("one weight for each coordinate", "another form")
        low = min(float(piece.float().min()) for piece in chosen)
        high = max(float(piece.float().max()) for piece in chosen)
        if not (low >= 0 and high <= 1):
            raise contract_error("weights in [0, 1]", f"weights from {low:g} to {high:g}")
        self.frozen = [piece == 0 for piece in chosen]
        return chosen

    def after_step(self, weights: Sequence[Tensor], step: Step) -> None:
        """Check that what should not move has not moved."""
        for weight, before, still in zip(weights, self.weights_before, self.frozen, strict=True):
            if bool(((weight != before) & still).any()):
                raise contract_error("masked weights that stay as they are", "weights that moved")
        self.mask.after_step(weights, step)
        self.weights_before = [weight.detach().clone() for weight in weights]

    def stats(self) -> Mapping[str, Tensor]:
        """Return what the mask has to say."""
        return self.mask.stats()


def check_mask(make: MakeMask, problem: ToyProblem = CLASSIFIER) -> None:
    """Run every contract on the masks that ``make`` builds.

    Weights are in [0, 1]; what has weight 0 stays bit-identical under momentum and weight decay; the same updates give
    the same weights and the same memory, to the bit.

    Args:
        make: Builds a new mask at each call.
        problem: What they are tried on. Default: a small classifier.

    Raises:
        ContractError: At the first contract that is broken.

    Examples:
        >>> from expunge.masks import Saliency
        >>> check_mask(Saliency)
    """
    first, second = CheckedMask(make()), CheckedMask(make())
    one, other = (
        run_updates(WeightedSum(1.0, 1.0), mask=mask, make_optimizer=make_decaying_optimizer, problem=problem)
        for mask in (first, second)
    )
    check_same_weights(one, other, 0.0)
    check_same_state(first.state_dict(), second.state_dict())


def make_decaying_optimizer(parameters: list[Tensor]) -> torch.optim.Optimizer:
    """Return an optimizer that moves weights whose gradient is 0."""
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=5e-4)
