"""How near a model is to the one retrained without the forgotten data, in scores."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from expunge.errors import DataError


def average_gap(scores: Sequence[float], retrained: Sequence[float]) -> float:
    """Return the mean over scores of |score − score of the retrained model|.

    Args:
        scores: Of the unlearned model, usually UA, RA, TA and MIA in percent.
        retrained: The same scores of the model retrained on the same split.

    Raises:
        DataError: If there are none, or not the same number of both.

    Examples:
        >>> average_gap([10.0, 99.0, 93.0, 14.0], [6.0, 100.0, 94.0, 12.0])
        2.0
    """
    score_pairs = pair_scores(scores, retrained)
    return sum(abs(ours - theirs) for ours, theirs in score_pairs) / len(score_pairs)


def tug_of_war(accuracies: Sequence[float], retrained: Sequence[float]) -> float:
    """Return Π (1 − |acc_u − acc_r| / 100) over forget, retain and test set.

    Zhao et al., "What makes unlearning hard and what to do about it" (arXiv 2406.01257).

    Args:
        accuracies: Of the unlearned model on forget, retain and test set, in percent.
        retrained: The same of the model retrained on the same split, in percent.

    Returns:
        From 0 to 1; 1 means the same accuracy everywhere.

    Raises:
        DataError: If there are none, or not the same number of both.

    Examples:
        >>> tug_of_war([50.0, 100.0, 90.0], [0.0, 100.0, 90.0])
        0.5
    """
    return prod(1.0 - abs(ours - theirs) / 100.0 for ours, theirs in pair_scores(accuracies, retrained))


def pair_scores(ours: Sequence[float], theirs: Sequence[float]) -> list[tuple[float, float]]:
    """Return the scores of both side by side.

    Raises:
        DataError: If there are none, or not the same number of both.
    """
    if len(ours) != len(theirs) or not ours:
        actual = f"{len(ours)} and {len(theirs)}"
        raise DataError("the same scores of both models", f"{actual} scores", "evaluate both with the same metrics")
    return list(zip(ours, theirs, strict=True))
