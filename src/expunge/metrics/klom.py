"""What metrics of many models take, and KLOM: how far margins of unlearned models are from those of retrained ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.errors import DataError
from expunge.metrics.arrays import Floats, to_float_array
from expunge.metrics.scores import margin

MIN_MODELS = 2
"""Models on each side, at least: one has no distribution."""


def model_scores(outputs: Any, targets: Any = None) -> Floats:
    """Return the scores of many models, ``(models, examples)`` in float64.

    Args:
        outputs: Scores ``(models, examples)``, taken as they are, or logits ``(models, examples, classes)``, of which
            the margin log p_y − log(1 − p_y) is taken.
        targets: Labels ``(examples,)``, needed with logits.

    Raises:
        DataError: If they have another form, there are fewer than two models or no examples, or a score is not finite.

    Examples:
        >>> model_scores([[[3.0, 1.0]], [[0.0, 1.0]]], [0]).tolist()
        [[2.0], [-1.0]]
    """
    array = to_float_array(outputs, "outputs of the models")
    if array.ndim == 3:
        if targets is None:
            raise DataError("labels with logits of many models", "none", "pass targets=, or scores in place of logits")
        array = np.stack([margin(rows, targets) for rows in array]) if len(array) else array[:, :, 0]
    if array.ndim != 2 or len(array) < MIN_MODELS or not array.shape[1]:
        expected = "scores (models, examples) or logits (models, examples, classes) of at least two models"
        raise DataError(expected, f"shape {np.shape(outputs)}", "stack the outputs of the models, one model per row")
    if not np.isfinite(array).all():
        raise DataError("finite scores of every model", "NaN or infinity", "leave out models that diverged")
    return array


def validate_model_scores(unlearned: Any, retrained: Any, targets: Any = None) -> tuple[Floats, Floats]:
    """Return the scores of unlearned and of retrained models on the same examples."""
    ours, theirs = model_scores(unlearned, targets), model_scores(retrained, targets)
    if ours.shape[1] != theirs.shape[1]:
        actual = f"{ours.shape[1]} and {theirs.shape[1]}"
        raise DataError("both sides on the same examples", actual, "collect both on the same examples in one order")
    return ours, theirs


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
