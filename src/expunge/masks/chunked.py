"""Parts: elementwise rules on large pieces, computed in parts that stay in the processor's cache."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from expunge.surgery.direction import is_sharded

CHUNK_SIZE = 2**16
"""Elements of a part: half a dozen float32 tensors of it fit into a core's cache."""


def apply_in_chunks(rule: Callable[..., Tensor], *pieces: Tensor) -> Tensor:
    """Return ``rule(*pieces)`` for a rule that treats every element alone, with no temporary of a large piece's size.

    On the CPU the rule sees slices along the first dimension; on other devices, where each call has its price, the
    pieces are given to it whole.

    Examples:
        >>> left, right = torch.arange(300_000), torch.ones(300_000)
        >>> torch.equal(apply_in_chunks(torch.add, left, right), left + right)
        True
    """
    first = pieces[0]
    if first.device.type != "cpu" or first.numel() <= CHUNK_SIZE or is_sharded(first):
        return rule(*pieces)
    rows = max(1, len(first) * CHUNK_SIZE // first.numel())
    return torch.cat([rule(*part) for part in zip(*(piece.split(rows) for piece in pieces), strict=True)])
