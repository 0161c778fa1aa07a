"""Accuracies (UA, RA, TA) and how near they are to those of the retrained model: average gap and tug of war."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from expunge.errors import DataError
from expunge.metrics.attacks.membership import MembershipInference
from expunge.metrics.metric import Metric
from expunge.metrics.outputs import ModelOutputs


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
    score_pairs = _pair_scores(scores, retrained)
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
    return prod(1.0 - abs(ours - theirs) / 100.0 for ours, theirs in _pair_scores(accuracies, retrained))


def _pair_scores(ours: Sequence[float], theirs: Sequence[float]) -> list[tuple[float, float]]:
    if len(ours) != len(theirs) or not ours:
        actual = f"{len(ours)} and {len(theirs)}"
        raise DataError("the same scores of both models", f"{actual} scores", "evaluate both with the same metrics")
    return list(zip(ours, theirs, strict=True))


def _measure_error(model: ModelOutputs, retrained: ModelOutputs | None) -> float | None:
    right = model.forget.accuracy
    return None if right is None else 100.0 - right


UNLEARNING_ACCURACY = Metric(
    _measure_error,
    "ua",
    "UA",
    "the value of the retrained model: 100 for a forgotten class, about the test error for random examples",
    "100 minus the accuracy on the forget examples, in eval mode and with the test transform; some public code prints "
    "the forget accuracy itself under this name.",
    unit="%",
    name="unlearning_accuracy",
    summary="Measure the error on the forget examples, 100 − accuracy (UA).",
)
RETAIN_ACCURACY = Metric(
    lambda model, _: model.retain.accuracy,
    "ra",
    "RA",
    "the value of the retrained model",
    "Accuracy on the retain examples, in eval mode and with the test transform, not the augmented one.",
    unit="%",
    name="retain_accuracy",
    summary="Measure the accuracy on the retain examples (RA).",
)
TEST_ACCURACY = Metric(
    lambda model, _: model.test.accuracy,
    "ta",
    "TA",
    "the value of the retrained model",
    "Accuracy on the test examples, without those of classes of which nothing is retained: with them a forgotten class "
    "would count as lost utility.",
    unit="%",
    name="test_accuracy",
    summary="Measure the accuracy on the test examples, without a forgotten class (TA).",
)
ACCURACIES = (UNLEARNING_ACCURACY, RETAIN_ACCURACY, TEST_ACCURACY)


def _measure_gap(model: ModelOutputs, retrained: ModelOutputs) -> float | None:
    scores = _measure_both((*ACCURACIES, MembershipInference()), model, retrained)
    return None if scores is None else average_gap(*scores)


def _measure_tug_of_war(model: ModelOutputs, retrained: ModelOutputs) -> float | None:
    scores = _measure_both(ACCURACIES, model, retrained)
    return None if scores is None else tug_of_war(*scores)


def _measure_both(
    metrics: tuple[Metric, ...], model: ModelOutputs, retrained: ModelOutputs
) -> tuple[list[float], list[float]] | None:
    """Return the metrics of both models; None if one number cannot be stated."""
    ours, theirs = ([value for one in metrics if (value := one(side)) is not None] for side in (model, retrained))
    return (ours, theirs) if len(ours) == len(theirs) == len(metrics) else None


AVERAGE_GAP = Metric(
    _measure_gap,
    "avg_gap",
    "avg gap",
    "0, but two retrained models differ too: compare with the noise floor",
    "Mean over UA, RA, TA and MIA of the distance to the model that the same seed retrained, per seed and then "
    "averaged, not the distance between averages; between under-trained models it measures luck.",
    unit="points",
    direction="lower",
    name="average_gap",
    summary="Average |model − retrained| over UA, RA, TA and MIA (avg gap).",
    needs=frozenset({"retrained"}),
)
TUG_OF_WAR = Metric(
    _measure_tug_of_war,
    "tow",
    "ToW",
    "1, the accuracies of the retrained model",
    "Product over forget, retain and test examples of 1 minus the distance in accuracy (as a share) to the model that "
    "the same seed retrained; it sees accuracies only, not membership.",
    direction="higher",
    name="tug_of_war",
    summary="Multiply 1 − |accuracy − that of the retrained model| over forget, retain and test examples (ToW).",
    needs=frozenset({"retrained"}),
)
