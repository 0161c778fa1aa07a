"""Scores of one model, and the noise floor of several retrained ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from expunge.errors import ConfigError
from expunge.metrics.agreement import (
    AVERAGE_GAP,
    RETAIN_ACCURACY,
    TEST_ACCURACY,
    TUG_OF_WAR,
    UNLEARNING_ACCURACY,
)
from expunge.metrics.attacks.audit import membership_audit
from expunge.metrics.attacks.likelihood_ratio import U_LIRA
from expunge.metrics.attacks.membership import (
    MembershipAUC,
    MembershipInference,
    TruePositiveRate,
    compute_member_score,
)
from expunge.metrics.attacks.relearning import Relearning
from expunge.metrics.cka import FeatureAlignment
from expunge.metrics.divergence import ALL_DIVERGENCES, Divergence
from expunge.metrics.ensembles import ForgettingQuality, MarginDivergence
from expunge.metrics.held_out import HeldOutTest, combine_tests, run_class_test, run_held_out_test
from expunge.metrics.metric import Metric, MetricBase
from expunge.metrics.outputs import ModelOutputs, Outputs
from expunge.metrics.statistics import Summary, noise_floor
from expunge.registry import find_component

Scores = Mapping[str, float | None]
"""Key of a metric → its number; None where these examples cannot carry it."""

DEFAULT_METRICS: tuple[Metric, ...] = (
    UNLEARNING_ACCURACY,
    RETAIN_ACCURACY,
    TEST_ACCURACY,
    MembershipInference(),
    AVERAGE_GAP,
    MembershipAUC(),
    TruePositiveRate(0.01),
    TruePositiveRate(0.001),
    TUG_OF_WAR,
    Divergence("js", "forget"),
    Divergence("kl", "forget"),
)
"""What is evaluated unless something else is asked for, in the order of the columns."""
METRICS: tuple[MetricBase, ...] = (
    *DEFAULT_METRICS,
    *(one for one in ALL_DIVERGENCES if one not in DEFAULT_METRICS),
    FeatureAlignment("retrained"),
    FeatureAlignment("original"),
    Relearning("steps"),
    Relearning("ratio"),
    ForgettingQuality(),
    MarginDivergence(),
    U_LIRA,
)
"""What the registry knows by name."""


def resolve_metrics(metrics: Iterable[Metric | str] | None) -> tuple[Metric, ...]:
    """Return the metrics; those given by name from the registry, the default ones for None.

    Raises:
        ConfigError: If there is no metric of a name, or it is one of many models.
    """
    if metrics is None:
        return DEFAULT_METRICS
    chosen = [find_component("metrics", metric) if isinstance(metric, str) else metric for metric in metrics]
    for metric in chosen:
        if not isinstance(metric, Metric):
            actual, name = f"{metric.key}, which compares many models", type(metric).__name__
            raise ConfigError("metrics of one model", actual, f"call expunge.metrics.{name}() on two ensembles")
    return tuple(chosen)


def evaluate_outputs(
    model: ModelOutputs, retrained: ModelOutputs | None = None, metrics: Iterable[Metric | str] | None = None
) -> Scores:
    """Return the scores of a model; those that need the retrained one or the original are absent without it.

    Args:
        model: Outputs of the model to judge.
        retrained: Outputs of the model that the same seed retrained on the same split, if there is one.
        metrics: Metrics or names of them; by default ``DEFAULT_METRICS``.

    Raises:
        ConfigError: If there is no metric of a name.
        DataError: If the two models were not evaluated on the same examples.

    Examples:
        >>> import torch
        >>> from expunge.metrics import Outputs
        >>> part = Outputs(torch.eye(2), torch.tensor([0, 1]))
        >>> outputs = ModelOutputs(part, part, part)
        >>> evaluate_outputs(outputs, metrics=["ua", "ra", "avg_gap"])
        {'ua': 0.0, 'ra': 100.0}
        >>> evaluate_outputs(outputs, outputs, metrics=["tow", "js_forget"])
        {'tow': 1.0, 'js_forget': 0.0}
    """
    chosen = [metric for metric in resolve_metrics(metrics) if metric.is_available(model, retrained)]
    return {metric.key: metric(model, retrained) for metric in chosen}


def collect_evidence(
    model: ModelOutputs, retrained: ModelOutputs | None = None, metrics: Iterable[Metric | str] | None = None
) -> dict[str, Any]:
    """Return what stands behind the scores of a model: by metric, and beside them ``attacks`` and ``held_out``.

    The first are all attacks with intervals, the second whether forgotten examples can be told from held-out ones.

    Args:
        model: Outputs of the model to judge.
        retrained: Outputs of the model that the same seed retrained on the same split, if there is one.
        metrics: Metrics or names of them; by default ``DEFAULT_METRICS``.
    """
    chosen = [metric for metric in resolve_metrics(metrics) if metric.is_available(model, retrained)]
    evidence = {metric.key: metric.collect_evidence(model, retrained) for metric in chosen}
    attacks = [attack.as_dict() for attack in membership_audit(model)] if len(model.test_same_classes) else []
    held_out_result = compare_with_held_out(model)
    held_out_part = {} if held_out_result is None else {"held_out": held_out_result.as_dict()}
    return (
        {key: value for key, value in evidence.items() if value}
        | ({"attacks": attacks} if attacks else {})
        | held_out_part
    )


def compare_with_held_out(model: ModelOutputs) -> HeldOutTest | None:
    """Return the verdict on a model; None where no forgotten example has held-out ones of its class.

    Classes of which nothing is retained must not be recognized any more, on forgotten and held-out examples; other
    forgotten examples are compared with held-out ones of their classes by loss and accuracy.

    Examples:
        >>> import torch
        >>> part = Outputs(torch.eye(2), torch.tensor([0, 1]))
        >>> compare_with_held_out(ModelOutputs(part, part, part)).verdict
        'undecided'
    """
    forgotten_classes = model.forgotten_classes
    forgotten, held_out = model.forget.without(forgotten_classes), model.test_same_classes.without(forgotten_classes)
    gone = [_count_correct(side.only(forgotten_classes)) for side in (model.forget, model.held_out)]
    class_result = run_class_test(gone)
    if not len(forgotten) or not len(held_out):
        return class_result
    sides = forgotten, held_out
    scores = compute_member_score(forgotten, "loss"), compute_member_score(held_out, "loss")
    correct = tuple((side.logits.argmax(1) == side.targets).numpy() for side in sides)
    example_result = run_held_out_test(
        scores, (correct[0], correct[1]), (forgotten.targets.numpy(), held_out.targets.numpy())
    )
    return example_result if class_result is None else combine_tests(example_result, class_result)


def _count_correct(side: Outputs) -> tuple[int, int]:
    return int((side.logits.argmax(1) == side.targets).sum()), len(side)


def compute_noise_floors(
    splits: Sequence[Sequence[ModelOutputs]], metrics: Iterable[Metric | str] | None = None
) -> dict[str, Summary]:
    """Return the noise floor of every distance to the retrained model: what two retrained models get.

    Args:
        splits: Outputs of the retrained models of each split, two or more; a split with one is left out.
        metrics: Metrics or names of them, of which those count that need a retrained model; by default
            ``DEFAULT_METRICS``.

    Raises:
        DataError: If models of one split were not evaluated on the same examples.

    Examples:
        >>> import torch
        >>> from expunge.metrics import Outputs
        >>> part = Outputs(torch.eye(2), torch.tensor([0, 1]))
        >>> outputs = ModelOutputs(part, part, part)
        >>> {key: floor.mean for key, floor in compute_noise_floors([[outputs, outputs]], ["ua", "js_forget"]).items()}
        {'js_forget': 0.0}
    """
    distances = [metric for metric in resolve_metrics(metrics) if "retrained" in metric.needs]
    floors = {metric.key: compute_noise_floor(splits, metric) for metric in distances}
    return {key: floor for key, floor in floors.items() if floor is not None}


def compute_noise_floor(splits: Sequence[Sequence[ModelOutputs]], metric: Metric | None = None) -> Summary | None:
    """Return the distance between models that were retrained on the same split.

    Args:
        splits: Outputs of the retrained models of each split, two or more; a split with one is left out.
        metric: The distance, one that needs a retrained model; by default the average gap.

    Returns:
        A value per split with the interval over splits; None if no split has two models.

    Raises:
        DataError: If models of one split were not evaluated on the same examples.

    Examples:
        >>> import torch
        >>> from expunge.metrics import Outputs
        >>> part = Outputs(torch.eye(2), torch.tensor([0, 1]))
        >>> outputs = ModelOutputs(part, part, part)
        >>> compute_noise_floor([[outputs, outputs]]).mean, compute_noise_floor([[outputs]])
        (0.0, None)
    """
    return noise_floor(splits, AVERAGE_GAP if metric is None else metric)
