"""Contracts that every mask keeps, as functions that raise ``ContractError`` with what was broken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from expunge.batch import Predictor, Split
from expunge.masks import Mask
from expunge.surgery import Direction, Fixed, Step
from expunge.testing.bench import CLASSIFIER, Bench
from expunge.testing.conformance import broken, run, same_state, same_weights

MakeMask = Callable[[], Mask]


class Watched(Mask):
    """A mask whose answers are checked at every update.

    Args:
        mask: The mask.
    """

    def __init__(self, mask: Mask) -> None:
        super().__init__()
        self.mask = mask
        self.before: list[Tensor] = []
        self.still: list[Tensor] = []

    def prepare(self, original: Predictor, data: Split) -> None:
        """Remember the weights."""
        self.mask.prepare(original, data)
        self.before = [weight.detach().clone() for weight in original.model.parameters() if weight.requires_grad]

    def observe(self, step: Step) -> None:
        """Look at an update as the mask does."""
        self.mask.observe(step)

    def screen(self, weights: Sequence[Tensor], step: Step) -> None:
        """Change the gradients as the mask does."""
        self.mask.screen(weights, step)

    def choose(self, displacement: Direction, step: Step) -> Direction:
        """Check the weights that the mask gives."""
        chosen = self.mask.choose(displacement, step)
        if [piece.shape for piece in chosen] != [piece.shape for piece in displacement]:
            raise broken("one weight for each coordinate", "another form")
        low = min(float(piece.float().min()) for piece in chosen)
        high = max(float(piece.float().max()) for piece in chosen)
        if not (low >= 0 and high <= 1):
            raise broken("weights in [0, 1]", f"weights from {low:g} to {high:g}")
        self.still = [piece == 0 for piece in chosen]
        return chosen

    def settle(self, weights: Sequence[Tensor], step: Step) -> None:
        """Check that what should not move has not moved."""
        for weight, before, still in zip(weights, self.before, self.still, strict=True):
            if bool(((weight != before) & still).any()):
                raise broken("masked weights that stay as they are", "weights that moved")
        self.mask.settle(weights, step)
        self.before = [weight.detach().clone() for weight in weights]

    def verdicts(self) -> Mapping[str, Tensor]:
        """Return what the mask has to say."""
        return self.mask.verdicts()


def check_mask(make: MakeMask, bench: Bench = CLASSIFIER) -> None:
    """Run every contract on the masks that ``make`` builds.

    Weights are in [0, 1]; what has weight 0 stays bit-identical under momentum and weight decay; the same updates give
    the same weights and the same memory, to the bit.

    Args:
        make: Builds a new mask at each call.
        bench: What they are tried on. Default: a small classifier.

    Raises:
        ContractError: At the first contract that is broken.

    Examples:
        >>> from expunge.masks import Saliency
        >>> check_mask(Saliency)
    """
    first, second = Watched(make()), Watched(make())
    one, other = (run(Fixed(1.0, 1.0), mask=mask, optimise=decaying, bench=bench) for mask in (first, second))
    same_weights(one, other, 0.0)
    same_state(first.state_dict(), second.state_dict())


def decaying(parameters: list[Tensor]) -> torch.optim.Optimizer:
    """Return an optimiser that moves weights whose gradient is 0."""
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=5e-4)
