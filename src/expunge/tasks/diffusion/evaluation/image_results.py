"""What the images of a model came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class ImageResults:
    """What the images of one model came to.

    Args:
        scores: Key of a column → number, for ``expunge.metrics.ModelScores``.
        evidence: What stands behind the numbers: counts, seeds, intervals, the classifier and its own accuracy.
    """

    scores: Mapping[str, float | None]
    evidence: Mapping[str, Any]


def format_ranges(seeds: Tensor) -> str:
    """Return seeds as ranges.

    Examples:
        >>> import torch
        >>> format_ranges(torch.tensor([3, 1, 2, 9, 9]))
        '1–3, 9'
    """
    ordered = seeds.unique()
    jumps = (ordered.diff() > 1).nonzero().flatten().tolist()
    runs = zip([0, *(at + 1 for at in jumps)], [*jumps, len(ordered) - 1], strict=True)
    ends = [(int(ordered[first]), int(ordered[last])) for first, last in runs]
    pairs = [f"{low}" if low == high else f"{low}–{high}" for low, high in ends]
    return ", ".join(pairs[:8]) + (f" and {len(pairs) - 8} more ranges" if len(pairs) > 8 else "")
