"""The guard: a mask judges what the optimizer did, not what it was told.

Momentum, Adam's moments and weight decay move weights whose gradient is zero. So the weights are remembered before
the optimizer's step, the displacement is weighed after it, and only what the mask passes is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from expunge.surgery import Direction
from expunge.surgery.direction import to_local

MaskFn = Callable[[Direction], Direction]


@contextmanager
def masked_step(parameters: Sequence[Tensor], compute_mask: MaskFn | None) -> Iterator[None]:
    """Run the optimizer's step in the body and commit what ``compute_mask`` passes of it.

    Formula: θ ← θ + m ⊙ (θ⁺ − θ), by selection at m = 0 and m = 1 so that both are exact to the bit.
    """
    if compute_mask is None:
        yield
        return
    weights_before = [parameter.detach().clone() for parameter in parameters]
    yield
    with torch.no_grad(), restore_on_failure(parameters, weights_before):
        # The gradients are spent; the displacement takes their room.
        for parameter in parameters:
            parameter.grad = None
        # No displacement outlives the choice: the memory above the optimizer's own is θ and one more θ for a moment.
        weights = compute_mask(Direction(torch._foreach_sub(weights_before, [p.detach() for p in parameters])))
        for parameter, old, weight in zip(parameters, weights_before, weights, strict=True):
            commit_masked_(parameter, old, weight)


@contextmanager
def restore_on_failure(parameters: Sequence[Tensor], before: Sequence[Tensor]) -> Iterator[None]:
    """Take the whole step back if the mask cannot judge it."""
    try:
        yield
    except BaseException:
        restore_weights(parameters, before)
        raise


@torch.no_grad()
def restore_weights(parameters: Sequence[Tensor], before: Sequence[Tensor]) -> None:
    """Give weights the values that they had."""
    torch._foreach_copy_([to_local(parameter) for parameter in parameters], [to_local(old) for old in before])


def commit_masked_(new: Tensor, old: Tensor, weight: Tensor) -> None:
    """Change the weights after an optimizer's step in place to those after the masked step.

    Examples:
        >>> new, old = torch.tensor([2.0, 2.0, 2.0]), torch.tensor([1.0, 1.0, 1.0])
        >>> commit_masked_(new, old, torch.tensor([0.0, 0.5, 1.0]))
        >>> new.tolist()
        [1.0, 1.5, 2.0]
    """
    if weight.dtype == torch.bool:
        torch.where(weight, new, old, out=new)
        return
    between = torch.where(weight >= 1, new, old + weight * (new - old))
    new.copy_(torch.where(weight <= 0, old, between))
