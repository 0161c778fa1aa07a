"""KLOM: how far the margins of unlearned models are distributed from those of retrained ones, per example."""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.metrics.arrays import Floats
from expunge.metrics.ensembles import validate_model_scores

BINS, CLIP, FLOOR = 20, 100.0, 1e-5


def klom(
    unlearned: Any, retrained: Any, *, targets: Any = None, bins: int = BINS, clip: float = CLIP, floor: float = FLOOR
) -> Floats:
    """Return the binned KL(retrained ‖ unlearned) of the margins of every example, in nats, ``(examples,)``.

    Georgiev et al., "Attribute-to-Delete: Machine Unlearning via Datamodel Matching" (arXiv 2410.23232): of the margins
    m = log p_y − log(1 − p_y), Σ_b p_b log(p_b / q_b) with p and q the shares of retrained and of unlearned models in
    bin b. Bins are equally wide, from the least to the largest margin of both.

    Args:
        unlearned: Logits ``(N, examples, classes)`` or margins ``(N, examples)``.
        retrained: The same of retrained models.
        targets: Labels ``(examples,)``, needed with logits.
        bins: Number of bins.
        clip: Margins are cut to [−clip, clip], so that one does not widen all bins.
        floor: Least share q of a bin in which p is not 0, without which KL were infinite; q is then divided by its sum.

    Raises:
        DataError: If the sides do not fit.

    Examples:
        >>> one, other = [[0.0], [1.0], [2.0]], [[7.0], [8.0], [9.0]]
        >>> klom(one, one).tolist(), klom(one, other).round(2).tolist()
        ([0.0], [10.41])

    Differences from public code: it passes the unlearned models as the first argument of KL, and loses the largest
    margin, which lies on the edge of the last bin.
    """
    ours, theirs = (np.clip(side, -clip, clip) for side in validate_model_scores(unlearned, retrained, targets))
    p, q = compute_bin_fractions(theirs, ours, theirs, bins), compute_bin_fractions(ours, ours, theirs, bins)
    q = np.where(p > 0, np.maximum(q, floor), q)
    q /= q.sum(0)
    terms = p * np.log(np.divide(p, q, where=p > 0, out=np.ones_like(p)))
    return np.asarray(np.maximum(terms.sum(0), 0.0))


def compute_bin_fractions(values: Floats, ours: Floats, theirs: Floats, bins: int) -> Floats:
    """Return the share of models in each bin between the extremes of both sides, ``(bins, examples)``."""
    low = np.minimum(ours.min(0), theirs.min(0))
    width = np.maximum(ours.max(0), theirs.max(0)) - low
    bin_index = np.floor((values - low) / np.where(width > 0, width, 1.0) * bins)
    bin_index = np.minimum(bin_index, bins - 1).astype(np.int64)
    return np.asarray(np.stack([(bin_index == number).mean(0) for number in range(bins)]))
