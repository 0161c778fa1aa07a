"""Order: the k-th smallest of all coordinates, wherever they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from expunge.surgery.direction import is_sharded, sum_over_ranks, to_local


def kth_smallest(sizes: Sequence[Tensor], count: int) -> Tensor:
    """Return the k-th smallest of the numbers in all pieces, which are ≥ 0.

    Where ranks have parts of the pieces no rank holds all numbers: those up to a candidate are counted, and the
    candidate is found by bisection on its bits, which are ordered as the numbers are. It is exact, and takes as many
    collectives, of one number, as the type has bits.

    Examples:
        >>> float(kth_smallest([torch.tensor([3.0, 1.0]), torch.tensor([2.0])], 2))
        2.0
    """
    if not is_sharded(sizes[0]):
        return torch.cat([piece.flatten() for piece in sizes]).kthvalue(count).values
    return kth_smallest_over_ranks([to_local(piece).flatten() for piece in sizes], count, sizes[0])


def kth_smallest_over_ranks(local_pieces: Sequence[Tensor], count: int, like: Tensor) -> Tensor:
    """Return the k-th smallest number of all ranks."""
    words = torch.int64 if local_pieces[0].dtype == torch.float64 else torch.int32
    bits = [piece.to(torch.float64 if words == torch.int64 else torch.float32).view(words) for piece in local_pieces]
    value = torch.zeros((), dtype=words, device=local_pieces[0].device)
    for bit in reversed(range(63 if words == torch.int64 else 31)):
        candidate = value + 2**bit
        below = torch.stack([(piece < candidate).sum() for piece in bits]).sum()
        value = torch.where(sum_over_ranks(below, like) < count, candidate, value)
    return value.view(torch.float64 if words == torch.int64 else torch.float32).to(local_pieces[0].dtype)
