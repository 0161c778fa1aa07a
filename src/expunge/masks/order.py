"""Order: the k-th smallest of all coordinates, wherever they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from expunge.surgery.direction import is_sharded, local, summed_over_ranks


def smallest(sizes: Sequence[Tensor], count: int) -> Tensor:
    """Return the k-th smallest of the numbers in all pieces, which are ≥ 0.

    Where ranks have parts of the pieces no rank holds all numbers: those up to a candidate are counted, and the
    candidate is found by bisection on its bits, which are ordered as the numbers are. It is exact, and takes as many
    collectives, of one number, as the type has bits.

    Args:
        sizes: Pieces of numbers ≥ 0.
        count: k, from 1.

    Examples:
        >>> float(smallest([torch.tensor([3.0, 1.0]), torch.tensor([2.0])], 2))
        2.0
    """
    if not is_sharded(sizes[0]):
        return torch.cat([piece.flatten() for piece in sizes]).kthvalue(count).values
    return bisected([local(piece).flatten() for piece in sizes], count, sizes[0])


def bisected(own: Sequence[Tensor], count: int, like: Tensor) -> Tensor:
    """Return the k-th smallest number of all ranks.

    Args:
        own: This rank's numbers.
        count: k.
        like: A piece that says which ranks share it.
    """
    words = torch.int64 if own[0].dtype == torch.float64 else torch.int32
    bits = [piece.to(torch.float64 if words == torch.int64 else torch.float32).view(words) for piece in own]
    found = torch.zeros((), dtype=words, device=own[0].device)
    for place in reversed(range(63 if words == torch.int64 else 31)):
        tried = found + 2**place
        below = torch.stack([(piece < tried).sum() for piece in bits]).sum()
        found = torch.where(summed_over_ranks(below, like) < count, tried, found)
    return found.view(torch.float64 if words == torch.int64 else torch.float32).to(own[0].dtype)
