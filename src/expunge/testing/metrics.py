"""Contracts that every metric keeps, as functions that raise ``ContractError`` with what was broken."""

from __future__ import annotations

import copy
import json
from math import isclose

import torch

from expunge.batch import Predictor
from expunge.data import TensorExamples
from expunge.metrics import (
    Ensemble,
    EnsembleMetric,
    Metric,
    MetricBase,
    ModelOutputs,
    Outputs,
    collect_model_outputs,
)
from expunge.testing.conformance import check_same_state, contract_error
from expunge.testing.toy_problem import CLASSIFIER, ToyProblem


def check_description(metric: MetricBase) -> None:
    """A metric says what it is: a key, a label, a direction, and a definition with the target in it.

    Raises:
        ContractError: If something is missing.
    """
    column = metric.column()
    if not (column.key and column.label and metric.target and metric.definition and metric.target in column.definition):
        raise contract_error("a key, a label, and a definition with the target in it", f"{column}")


def make_outputs(problem: ToyProblem, seed: int, shift: float) -> tuple[ModelOutputs, ModelOutputs]:
    """Return outputs of the bench's network and of one whose weights were moved, with the networks, the first beside.

    The second is the one to judge; the first stands for the original and for the retrained model.
    """
    plain, shifted = problem.network(torch.float32), problem.network(torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in shifted.parameters():
            weight.add_(shift * torch.randn(weight.shape, generator=generator))
    side = problem.batch(902, torch.float32, 40)
    split, test = problem.split(), TensorExamples(side.inputs, side.targets)
    first, second = (
        collect_model_outputs(problem.predict(model), split, test, keep_model=True) for model in (plain, shifted)
    )
    return second.with_original(first), first.with_original(first)


def check_number(metric: Metric, problem: ToyProblem = CLASSIFIER) -> None:
    """The same outputs give the same number, finite or None, and evidence that can be written down."""
    (model, reference), (again, other) = (make_outputs(problem, 1, 0.5) for _ in range(2))
    value, repeated = metric(model, reference), metric(again, other)
    if not are_equal(value, repeated):
        raise contract_error("the same number from the same outputs", f"{value} and {repeated}")
    if value is not None and not isinstance(value, float):
        raise contract_error("a float or None", f"a {type(value).__name__}")
    json.dumps(metric.collect_evidence(model, reference), allow_nan=False)


def check_order(metric: Metric, problem: ToyProblem = CLASSIFIER) -> None:
    """In which order the examples stand changes nothing, where both models are asked in the same order.

    Left out for metrics that draw examples, from the networks or by a seed of their own.
    """
    if "network" in metric.needs or "seed" in metric.settings:
        return
    model, reference = make_outputs(problem, 1, 0.5)
    reversed_model, other = reverse_outputs(model), reverse_outputs(reference)
    value, again = metric(model, reference), metric(reversed_model.with_original(other), other)
    if not are_equal(value, again, 1e-6):
        raise contract_error(f"{value} whatever the order of the examples", f"{again}")


def reverse_outputs(model: ModelOutputs) -> ModelOutputs:
    """Return the outputs with the last example first."""
    parts = (model.forget, model.retain, model.held_out)
    forget, retain, holdout = (Outputs(side.logits.flip(0), side.targets.flip(0)) for side in parts)
    return ModelOutputs(forget, retain, holdout)


def check_distance(metric: Metric, problem: ToyProblem = CLASSIFIER) -> None:
    """A distance to the retrained model is best where the two are one: nothing else may get a better value.

    A metric with a target of its own ("match") has 0 or 1 there, no distance or a ratio of equals, or None.
    """
    if "retrained" not in metric.needs:
        return
    model, reference = make_outputs(problem, 1, 0.5)
    best, value = metric(reference, reference), metric(model, reference)
    if metric.direction == "match":
        if best not in (None, 0.0, 1.0):
            raise contract_error("0, 1 or None for a model beside itself", f"{best}")
    elif best is None or (value is not None and (value - best) * (1 if metric.direction == "higher" else -1) > 1e-6):
        raise contract_error(f"no better value than that of the retrained model itself, {best}", f"{value}")


def check_untouched(metric: Metric, problem: ToyProblem = CLASSIFIER) -> None:
    """Measuring changes neither networks nor outputs nor the random state, and leaves no hook behind."""
    model, reference = make_outputs(problem, 1, 0.5)
    network = get_network(model)
    state, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    logits, modes = model.forget.logits.clone(), [module.training for module in network.modules()]
    metric(model, reference)
    check_same_state(state, network.state_dict())
    if not (torch.equal(random, torch.get_rng_state()) and torch.equal(logits, model.forget.logits)):
        raise contract_error("outputs and random state as they were", "others")
    hooks = any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    gradients = any(weight.grad is not None for weight in network.parameters())
    if hooks or gradients or modes != [module.training for module in network.modules()]:
        raise contract_error("a network without hooks, gradients or another mode", "some of them")


def get_network(model: ModelOutputs) -> torch.nn.Module:
    """Return the network that the outputs came from."""
    predict = Predictor(torch.nn.Identity()) if model.model_under_test is None else model.model_under_test.predict
    return predict.model


def are_equal(first: float | None, second: float | None, tolerance: float = 0.0) -> bool:
    """Return whether two numbers are equal, or both are None."""
    if first is None or second is None:
        return first is second
    return isclose(first, second, rel_tol=tolerance, abs_tol=tolerance)


def check_metric(metric: Metric, problem: ToyProblem = CLASSIFIER) -> None:
    """Run every contract on a metric of one model.

    Args:
        metric: The metric.
        problem: What they are tried on. Default: a small classifier.

    Raises:
        ContractError: At the first contract that is broken.

    Examples:
        >>> from expunge.metrics import AVERAGE_GAP
        >>> check_metric(AVERAGE_GAP)
    """
    check_description(metric)
    for check in (check_number, check_order, check_distance, check_untouched):
        check(metric, problem)


def check_ensemble_metric(metric: EnsembleMetric) -> None:
    """Run every contract on a metric of many models.

    Models that say the same get no worse a value than others, far ones get a worse one; order counts for nothing; the
    interval holds the value.

    Args:
        metric: The metric.

    Raises:
        ContractError: At the first contract that is broken.

    Examples:
        >>> from expunge.metrics import ForgettingQuality
        >>> check_ensemble_metric(ForgettingQuality())
    """
    check_description(metric)
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(12, 20, generator=generator, dtype=torch.float64).numpy() for _ in range(2))
    retrained = Ensemble(one)
    same_models, near, far = (metric(Ensemble(scores), retrained) for scores in (one, other, other + 30.0))
    sign = -1.0 if metric.direction == "lower" else 1.0
    if not sign * same_models.value >= sign * near.value >= sign * far.value or same_models.value == far.value:
        raise contract_error(
            "a worse value the further the models are", f"{same_models.value}, {near.value}, {far.value}"
        )
    reversed_metric = metric(Ensemble(other[::-1, ::-1]), Ensemble(one[::-1, ::-1]))
    if not are_equal(reversed_metric.value, near.value, 1e-9):
        raise contract_error(f"{near.value} in any order of models and examples", f"{reversed_metric.value}")
    if not near.interval.low <= near.value <= near.interval.high:
        raise contract_error("an interval that holds the value", f"{near.value} and {near.interval}")
