"""Relearning: how few updates on a few forget examples bring back what was forgotten."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from expunge.batch import Examples, Predictor, device_of, sample_indices
from expunge.data.examples import Subset
from expunge.errors import ConfigError
from expunge.metrics.inference import collect_outputs
from expunge.metrics.metric import Metric
from expunge.metrics.outputs import ModelOutputs, check_choice


@dataclass(frozen=True)
class RelearnConfig:
    """How a model is taught again: the same for every model that is compared.

    Args:
        examples: Forget examples that it is taught, all in every update.
        eval_examples: Forget examples that it is judged on, at most.
        lr: Learning rate of stochastic gradient descent.
        momentum: Its momentum.
        steps: Updates at most.
        seed: Of the choice of examples.
    """

    examples: int = 16
    eval_examples: int = 256
    lr: float = 0.01
    momentum: float = 0.9
    steps: int = 100
    seed: int = 0


def relearn(predict: Predictor, forget: Examples, goal: float, config: RelearnConfig) -> list[float]:
    """Return the accuracy on forget examples before the first and after every update of a copy, until the goal.

    Norms keep their statistics and dropout is off, so that nothing but the weights is taught; weights that the owner
    froze are taught as well. Model and random state are left as they were.

    Args:
        predict: The model with the way to read its logits.
        forget: The forget examples, with the test transform.
        goal: Accuracy in percent at which teaching ends.
        config: How it is taught.

    Returns:
        Percent; the last is the first that reaches the goal, unless none did.

    Raises:
        NotFiniteError: If the taught copy diverges.
    """
    student = _make_trainable_copy(predict.model)
    device, total = device_of(student), len(forget)
    train_batch = forget.batch(_draw(total, config.examples, config.seed)).to(device)
    eval_set = Subset(forget, _draw(total, config.eval_examples, config.seed + 1))
    optimizer = torch.optim.SGD(student.parameters(), lr=config.lr, momentum=config.momentum)
    predictor, accuracies = predict.with_model(student), [_measure_accuracy(predict.with_model(student), eval_set)]
    with torch.random.fork_rng(devices=[]):
        while accuracies[-1] < goal and len(accuracies) <= config.steps:
            optimizer.zero_grad()
            functional.cross_entropy(predictor(train_batch.inputs), train_batch.targets).backward()
            optimizer.step()
            accuracies.append(_measure_accuracy(predictor, eval_set))
    return accuracies


def _draw(total: int, count: int, seed: int) -> Tensor:
    return sample_indices(total, count, seed).sort().values


def _make_trainable_copy(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        student = copy.deepcopy(model).eval()
    for weight in student.parameters():
        if weight.is_floating_point():
            weight.requires_grad_(True)
    return student


def _measure_accuracy(predict: Predictor, examples: Examples) -> float:
    return collect_outputs(predict, examples).accuracy or 0.0


RelearnKind = Literal["steps", "ratio"]


class Relearning(Metric):
    """Count the updates on a few forget examples until the model is as good on the forget set as the original.

    Golatkar et al., "Eternal Sunshine of the Spotless Net" (arXiv 1911.04933), relearn time; the margin is that of
    Chundawat et al., "Zero-Shot Machine Unlearning" (arXiv 2201.05629), anamnesis index.

    Args:
        kind: ``steps``, the number; or ``ratio``, over the number that the retrained model needs. Default ``steps``.
        margin: As good is an accuracy of at least 1 − margin of the original's.
        examples: Forget examples that are taught, all in every update.
        steps: Updates at most.
        lr: Learning rate of SGD with momentum 0.9.
        seed: Of the choice of examples.

    Raises:
        ConfigError: If the kind is another word, or the margin is not at least 0 and below 1.
    """

    def __init__(
        self,
        kind: RelearnKind = "steps",
        margin: float = 0.05,
        examples: int = 16,
        steps: int = 100,
        lr: float = 0.01,
        seed: int = 0,
    ) -> None:
        check_choice(kind, get_args(RelearnKind))
        if not 0 <= margin < 1:
            raise ConfigError("a margin of at least 0 and below 1", f"{margin}", "use 0.05")
        settings = {"margin": margin, "config": RelearnConfig(examples=examples, lr=lr, steps=steps, seed=seed)}
        here = (
            f" Here: {examples} examples, learning rate {lr:g}, within {100 * margin:g} % of the original's accuracy, "
            f"absent where {steps} updates are not enough."
        )
        if kind == "ratio":
            super().__init__(
                _divide_steps,
                "relearn_ratio",
                "relearn ratio",
                "1, as hard to teach as a model that never knew",
                "Relearn steps of the model over those of the retrained one; below 1 the knowledge comes back faster "
                "than it is learnt, above 1 the model resists. Absent where one of the two does not get there, or the "
                f"retrained model is as good without any, as with random examples.{here}",
                summary="Divide the updates that bring the forgotten back by those that the retrained model needs to "
                "learn it.",
                settings=settings,
                needs=frozenset({"retrained", "original", "network"}),
            )
        else:
            super().__init__(
                _count_steps,
                "relearn",
                "relearn steps",
                "the value of the retrained model; fewer mean that the knowledge is still there",
                "Updates of SGD with momentum 0.9 on a few forget examples until the accuracy on forget examples is "
                "nearly the original's, on a copy of the model. It depends on the optimizer, so it says something "
                f"beside the retrained model's value only.{here}",
                unit="steps",
                name="relearn_steps",
                summary="Count the updates on a few forget examples until the model is as good on the forget set as "
                "the original.",
                settings=settings,
                needs=frozenset({"original", "network"}),
                evidence=_describe_curve,
            )


def _count_steps(model: ModelOutputs, _: Any, *, margin: float, config: RelearnConfig) -> float | None:
    curve = _describe_curve(model, None, margin=margin, config=config)
    return float(len(curve["accuracy"]) - 1) if curve["accuracy"][-1] >= curve["goal"] else None


def _divide_steps(
    model: ModelOutputs, retrained: ModelOutputs, *, margin: float, config: RelearnConfig
) -> float | None:
    steps = Relearning("steps", margin, config.examples, config.steps, config.lr, config.seed)
    theirs = steps(retrained)
    ours = steps(model) if theirs else None
    return None if ours is None or not theirs else ours / theirs


def _describe_curve(model: ModelOutputs, _: Any, *, margin: float, config: RelearnConfig) -> dict[str, Any]:
    """Return the goal and the accuracy before the first and after every update of a copy, in percent."""
    original, subject = model if model.original is None else model.original, model.model_under_test
    if subject is None:
        return {}
    indices = _draw(len(original.forget), config.eval_examples, config.seed + 1)
    goal = (original.forget.at(indices).accuracy or 0.0) * (1 - margin)
    curve = model.get_cached((config, goal), lambda: relearn(subject.predict, subject.split.forget, goal, config))
    return {"goal": goal, "accuracy": curve}
