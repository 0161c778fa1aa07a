"""Contracts that every metric keeps, as functions that raise ``ContractError`` with what was broken."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from math import isclose

import torch

from expunge.batch import Predictor
from expunge.data import TensorExamples
from expunge.evaluation import Ensemble, EnsembleMetric, Metric, ModelOutputs, Outputs, Quantity, outputs_of
from expunge.testing.bench import CLASSIFIER, Bench
from expunge.testing.conformance import broken, same_state

MakeQuantity = Callable[[], Quantity]
MakeMetric = Callable[[], Metric]
MakeEnsembleMetric = Callable[[], EnsembleMetric]


def check_words(make: MakeQuantity) -> None:
    """A metric says what it is: a key, a label, a direction, a definition with the target in it, and how it is made.

    Raises:
        ContractError: If something is missing.
    """
    quantity = make()
    column = quantity.column()
    if not (column.key and column.label and quantity.target and quantity.target in column.definition):
        raise broken("a key, a label, and a definition with the target in it", f"{column}")
    if column.direction not in ("higher", "lower", "match"):
        raise broken("a direction: higher, lower or match", f"'{column.direction}'")
    rebuilt = eval(repr(quantity), {type(quantity).__name__: type(quantity)})
    if not (rebuilt == quantity == make() and hash(rebuilt) == hash(quantity)):
        raise broken(f"an equal metric from {quantity!r}", f"{rebuilt!r}")


def outputs_on(bench: Bench, seed: int, shift: float) -> tuple[ModelOutputs, ModelOutputs]:
    """Return outputs of the bench's network and of one whose weights were moved, with the networks, the first beside.

    The second is the one to judge; the first stands for the original and for the retrained model.
    """
    plain, moved = bench.network(torch.float32), bench.network(torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in moved.parameters():
            weight.add_(shift * torch.randn(weight.shape, generator=generator))
    side = bench.batch(902, torch.float32, 40)
    split, test = bench.split(), TensorExamples(side.inputs, side.targets)
    first, second = (outputs_of(bench.predict(model), split, test, keep_model=True) for model in (plain, moved))
    return second.beside(first), first.beside(first)


def check_number(make: MakeMetric, bench: Bench = CLASSIFIER) -> None:
    """The same outputs give the same number, finite or None, and evidence that can be written down."""
    (model, reference), (again, other) = (outputs_on(bench, 1, 0.5) for _ in range(2))
    metric = make()
    value, repeated = metric(model, reference), make()(again, other)
    if not same(value, repeated):
        raise broken("the same number from the same outputs", f"{value} and {repeated}")
    if value is not None and not isinstance(value, float):
        raise broken("a float or None", f"a {type(value).__name__}")
    json.dumps(metric.evidence(model, reference), allow_nan=False)


def check_order(make: MakeMetric, bench: Bench = CLASSIFIER) -> None:
    """In which order the examples stand changes nothing, where both models are asked in the same order.

    Left out for metrics that draw examples, from the networks or by a seed of their own.
    """
    metric = make()
    if metric.needs_network or hasattr(metric, "seed"):
        return
    model, reference = outputs_on(bench, 1, 0.5)
    turned, other = turned_round(model), turned_round(reference)
    value, again = metric(model, reference), metric(turned.beside(other), other)
    if not same(value, again, 1e-6):
        raise broken(f"{value} whatever the order of the examples", f"{again}")


def turned_round(model: ModelOutputs) -> ModelOutputs:
    """Return the outputs with the last example first."""
    parts = (model.forget, model.retain, model.held_out)
    forget, retain, held = (Outputs(side.logits.flip(0), side.targets.flip(0)) for side in parts)
    return ModelOutputs(forget, retain, held)


def check_distance(make: MakeMetric, bench: Bench = CLASSIFIER) -> None:
    """A distance to the retrained model is best where the two are one: nothing else may get a better value.

    A metric with a target of its own ("match") has 0 or 1 there, no distance or a ratio of equals, or None.
    """
    metric = make()
    if not metric.needs_retrained:
        return
    model, reference = outputs_on(bench, 1, 0.5)
    best, value = metric(reference, reference), metric(model, reference)
    if metric.direction == "match":
        if best not in (None, 0.0, 1.0):
            raise broken("0, 1 or None for a model beside itself", f"{best}")
    elif best is None or (value is not None and (value - best) * (1 if metric.direction == "higher" else -1) > 1e-6):
        raise broken(f"no better value than that of the retrained model itself, {best}", f"{value}")


def check_untouched(make: MakeMetric, bench: Bench = CLASSIFIER) -> None:
    """Measuring changes neither networks nor outputs nor the random state, and leaves no hook behind."""
    model, reference = outputs_on(bench, 1, 0.5)
    network = network_of(model)
    state, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    logits, modes = model.forget.logits.clone(), [module.training for module in network.modules()]
    make()(model, reference)
    same_state(state, network.state_dict())
    if not (torch.equal(random, torch.get_rng_state()) and torch.equal(logits, model.forget.logits)):
        raise broken("outputs and random state as they were", "others")
    hooks = any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    gradients = any(weight.grad is not None for weight in network.parameters())
    if hooks or gradients or modes != [module.training for module in network.modules()]:
        raise broken("a network without hooks, gradients or another mode", "some of them")


def network_of(model: ModelOutputs) -> torch.nn.Module:
    """Return the network that the outputs came from."""
    predict = Predictor(torch.nn.Identity()) if model.subject is None else model.subject.predict
    return predict.model


def same(first: float | None, second: float | None, tolerance: float = 0.0) -> bool:
    """Return whether two numbers are equal, or both are None."""
    if first is None or second is None:
        return first is second
    return isclose(first, second, rel_tol=tolerance, abs_tol=tolerance)


def check_metric(make: MakeMetric, bench: Bench = CLASSIFIER) -> None:
    """Run every contract on the metrics of one model that ``make`` builds.

    Args:
        make: Builds a new metric at each call.
        bench: What they are tried on. Default: a small classifier.

    Raises:
        ContractError: At the first contract that is broken.

    Examples:
        >>> from expunge.evaluation import AverageGap
        >>> check_metric(AverageGap)
    """
    check_words(make)
    for check in (check_number, check_order, check_distance, check_untouched):
        check(make, bench)


def check_ensemble_metric(make: MakeEnsembleMetric) -> None:
    """Run every contract on the metrics of many models that ``make`` builds.

    Models that say the same get no worse a value than others, far ones get a worse one; order counts for nothing; the
    interval holds the value.

    Args:
        make: Builds a new metric at each call.

    Raises:
        ContractError: At the first contract that is broken.

    Examples:
        >>> from expunge.evaluation import ForgettingQuality
        >>> check_ensemble_metric(ForgettingQuality)
    """
    check_words(make)
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(12, 20, generator=generator, dtype=torch.float64).numpy() for _ in range(2))
    metric, retrained = make(), Ensemble(one)
    same_models, near, far = (metric(Ensemble(scores), retrained) for scores in (one, other, other + 30.0))
    sign = -1.0 if metric.direction == "lower" else 1.0
    if not sign * same_models.value >= sign * near.value >= sign * far.value or same_models.value == far.value:
        raise broken("a worse value the further the models are", f"{same_models.value}, {near.value}, {far.value}")
    turned = make()(Ensemble(other[::-1, ::-1]), Ensemble(one[::-1, ::-1]))
    if not same(turned.value, near.value, 1e-9):
        raise broken(f"{near.value} in any order of models and examples", f"{turned.value}")
    if not near.interval.low <= near.value <= near.interval.high:
        raise broken("an interval that holds the value", f"{near.value} and {near.interval}")
