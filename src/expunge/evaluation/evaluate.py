"""Scores of one model, and the noise floor of several retrained ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from expunge.errors import ConfigError
from expunge.evaluation.accuracies import RetainAccuracy, TestAccuracy, UnlearningAccuracy
from expunge.evaluation.agreement import AverageGap, TugOfWar
from expunge.evaluation.audit import membership_audit
from expunge.evaluation.distinguishability import compare_with_held_out
from expunge.evaluation.divergences import ForgetDivergence, ForgetRelativeEntropy
from expunge.evaluation.membership import (
    MembershipAUC,
    MembershipInference,
    TruePositivesAtOnePercent,
    TruePositivesAtOnePermille,
)
from expunge.evaluation.metric import Metric
from expunge.evaluation.outputs import ModelOutputs
from expunge.metrics import Summary, noise_floor
from expunge.registry import find_component

Scores = Mapping[str, float | None]
"""Key of a metric → its number; None where these examples cannot carry it."""

DEFAULT_METRICS: tuple[Metric, ...] = (
    UnlearningAccuracy(),
    RetainAccuracy(),
    TestAccuracy(),
    MembershipInference(),
    AverageGap(),
    MembershipAUC(),
    TruePositivesAtOnePercent(),
    TruePositivesAtOnePermille(),
    TugOfWar(),
    ForgetDivergence(),
    ForgetRelativeEntropy(),
)
"""What is evaluated unless something else is asked for, in the order of the columns."""


def resolve_metrics(metrics: Iterable[Metric | str] | None) -> tuple[Metric, ...]:
    """Return the metrics; those given by name from the registry, the default ones for None.

    Raises:
        ConfigError: If there is no metric of a name, or it is one of many models.
    """
    if metrics is None:
        return DEFAULT_METRICS
    chosen = [find_component("metrics", metric)() if isinstance(metric, str) else metric for metric in metrics]
    for metric in chosen:
        if not isinstance(metric, Metric):
            actual, name = f"{metric.key}, which compares many models", type(metric).__name__
            raise ConfigError("metrics of one model", actual, f"call expunge.evaluation.{name}() on two ensembles")
    return tuple(chosen)


def evaluate_outputs(
    model: ModelOutputs, retrained: ModelOutputs | None = None, metrics: Iterable[Metric | str] | None = None
) -> Scores:
    """Return the scores of a model; those that need the retrained one or the original are absent without it.

    Args:
        model: Outputs of the model to judge.
        retrained: Outputs of the model that the same seed retrained on the same split, if there is one.
        metrics: Metrics or names of them; by default ``DEFAULT``.

    Raises:
        ConfigError: If there is no metric of a name.
        DataError: If the two models were not evaluated on the same examples.

    Examples:
        >>> import torch
        >>> from expunge.evaluation import Outputs
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
        metrics: Metrics or names of them; by default ``DEFAULT``.
    """
    chosen = [metric for metric in resolve_metrics(metrics) if metric.is_available(model, retrained)]
    evidence = {metric.key: dict(metric.evidence(model, retrained)) for metric in chosen}
    attacks = [attack.as_dict() for attack in membership_audit(model)] if len(model.test_same_classes) else []
    held_out_result = compare_with_held_out(model)
    held_out_part = {} if held_out_result is None else {"held_out": held_out_result.as_dict()}
    return (
        {key: value for key, value in evidence.items() if value}
        | ({"attacks": attacks} if attacks else {})
        | held_out_part
    )


def compute_noise_floors(
    splits: Sequence[Sequence[ModelOutputs]], metrics: Iterable[Metric | str] | None = None
) -> dict[str, Summary]:
    """Return the noise floor of every distance to the retrained model: what two retrained models get.

    Args:
        splits: Outputs of the retrained models of each split, two or more; a split with one is left out.
        metrics: Metrics or names of them, of which those count that need a retrained model; by default ``DEFAULT``.

    Raises:
        DataError: If models of one split were not evaluated on the same examples.

    Examples:
        >>> import torch
        >>> from expunge.evaluation import Outputs
        >>> part = Outputs(torch.eye(2), torch.tensor([0, 1]))
        >>> outputs = ModelOutputs(part, part, part)
        >>> {key: floor.mean for key, floor in compute_noise_floors([[outputs, outputs]], ["ua", "js_forget"]).items()}
        {'js_forget': 0.0}
    """
    distances = [metric for metric in resolve_metrics(metrics) if metric.needs_retrained]
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
        >>> from expunge.evaluation import Outputs
        >>> part = Outputs(torch.eye(2), torch.tensor([0, 1]))
        >>> outputs = ModelOutputs(part, part, part)
        >>> compute_noise_floor([[outputs, outputs]]).mean, compute_noise_floor([[outputs]])
        (0.0, None)
    """
    return noise_floor(splits, AverageGap() if metric is None else metric)
