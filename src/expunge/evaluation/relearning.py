"""Relearning: how few updates on a few forget examples bring back what was forgotten."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from expunge.batch import Batch, Examples, Predictor
from expunge.errors import ConfigError
from expunge.evaluation.features import sample_indices
from expunge.evaluation.inference import collect_outputs, get_device
from expunge.evaluation.metric import Metric
from expunge.evaluation.outputs import ModelOutputs
from expunge.metrics import Column, accuracy


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
    student = make_trainable_copy(predict.model)
    device, total = get_device(student), len(forget)
    train_batch = forget.batch(sample_indices(total, config.examples, config.seed)).to(device)
    eval_set = RelearnSubset(forget, sample_indices(total, config.eval_examples, config.seed + 1))
    optimizer = torch.optim.SGD(student.parameters(), lr=config.lr, momentum=config.momentum)
    predictor, accuracies = predict.with_model(student), [measure_accuracy(predict.with_model(student), eval_set)]
    with torch.random.fork_rng(devices=[]):
        while accuracies[-1] < goal and len(accuracies) <= config.steps:
            optimizer.zero_grad()
            functional.cross_entropy(predictor(train_batch.inputs), train_batch.targets).backward()
            optimizer.step()
            accuracies.append(measure_accuracy(predictor, eval_set))
    return accuracies


def make_trainable_copy(model: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose every floating weight may be trained."""
    with torch.no_grad():
        student = copy.deepcopy(model).eval()
    for weight in student.parameters():
        if weight.is_floating_point():
            weight.requires_grad_(True)
    return student


class RelearnSubset:
    """Some of the examples of a data set.

    Args:
        source: The data set.
        positions: Which of them, ``(n,)`` int64.
    """

    def __init__(self, source: Examples, positions: Tensor) -> None:
        self.source, self.positions = source, positions

    @property
    def targets(self) -> Tensor:
        """Their labels."""
        return self.source.targets[self.positions]

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.positions)

    def batch(self, indices: Tensor) -> Batch:
        """Return those at ``indices``."""
        return self.source.batch(self.positions[indices])


def measure_accuracy(predict: Predictor, examples: Examples) -> float:
    """Return the accuracy in percent."""
    outputs = collect_outputs(predict, examples)
    return accuracy(outputs.logits, outputs.targets) or 0.0


class RelearnSteps(Metric):
    """Count the updates on a few forget examples until the model is as good on the forget set as the original.

    Golatkar et al., "Eternal Sunshine of the Spotless Net" (arXiv 1911.04933), relearn time; the margin is that of
    Chundawat et al., "Zero-Shot Machine Unlearning" (arXiv 2201.05629), anamnesis index.

    Args:
        margin: As good is an accuracy of at least 1 − margin of the original's.
        examples: Forget examples that are taught, all in every update.
        steps: Updates at most.
        lr: Learning rate of SGD with momentum 0.9.
        seed: Of the choice of examples.
    """

    aliases: ClassVar[tuple[str, ...]] = ("relearn",)
    label = "relearn steps"
    unit = "steps"
    target = "the value of the retrained model; fewer mean that the knowledge is still there"
    needs_original = True
    needs_network = True
    definition = (
        "Updates of SGD with momentum 0.9 on a few forget examples until the accuracy on forget examples is nearly the "
        "original's, on a copy of the model. It depends on the optimizer, so it says something beside the retrained "
        "model's value only."
    )

    def __init__(
        self, margin: float = 0.05, examples: int = 16, steps: int = 100, lr: float = 0.01, seed: int = 0
    ) -> None:
        if not 0 <= margin < 1:
            raise ConfigError("a margin of at least 0 and below 1", f"{margin}", "use 0.05")
        self.margin, self.examples, self.steps, self.lr, self.seed = margin, examples, steps, lr, seed

    def column(self) -> Column:
        """Return what a table says about the metric, with its settings."""
        settings = (
            f"Here: {self.examples} examples, learning rate {self.lr:g}, within {100 * self.margin:g} % of the "
            f"original's accuracy, absent where {self.steps} updates are not enough."
        )
        plain = super().column()
        return plain._replace(definition=f"{plain.definition} {settings}")

    def compute(self, model: ModelOutputs, retrained: ModelOutputs | None) -> float | None:
        """Return the number of updates; None where the goal was not reached."""
        curve, goal = self.compute_curve(model), self.compute_goal(model)
        return float(len(curve) - 1) if curve[-1] >= goal else None

    def evidence(self, model: ModelOutputs, retrained: ModelOutputs | None) -> Mapping[str, Any]:
        """Return the goal and the accuracy before the first and after every update, in percent."""
        return {"goal": self.compute_goal(model), "accuracy": self.compute_curve(model)}

    def build_config(self) -> RelearnConfig:
        """Return how the model is taught."""
        return RelearnConfig(examples=self.examples, lr=self.lr, steps=self.steps, seed=self.seed)

    def compute_goal(self, model: ModelOutputs) -> float:
        """Return the accuracy in percent at which the model counts as taught, on the examples it is judged on."""
        original = model if model.original is None else model.original
        indices = sample_indices(len(original.forget), self.build_config().eval_examples, self.seed + 1)
        original_accuracy = accuracy(original.forget.logits[indices], original.forget.targets[indices]) or 0.0
        return original_accuracy * (1 - self.margin)

    def compute_curve(self, model: ModelOutputs) -> list[float]:
        """Return the accuracies while a copy is taught."""
        subject = model.model_under_test
        if subject is None:
            return []
        compute = lambda: relearn(subject.predict, subject.split.forget, self.compute_goal(model), self.build_config())  # noqa: E731
        return model.get_cached((self, "curve"), compute)


class RelearnRatio(RelearnSteps):
    """Divide the updates that bring the forgotten back by those that the retrained model needs to learn it.

    Args:
        margin: As good is an accuracy of at least 1 − margin of the original's.
        examples: Forget examples that are taught, all in every update.
        steps: Updates at most.
        lr: Learning rate of SGD with momentum 0.9.
        seed: Of the choice of examples.
    """

    aliases = ()
    label = "relearn ratio"
    unit = ""
    target = "1, as hard to teach as a model that never knew"
    needs_retrained = True
    definition = (
        "Relearn steps of the model over those of the retrained one; below 1 the knowledge comes back faster than it "
        "is learnt, above 1 the model resists. Absent where one of the two does not get there, or the retrained model "
        "is as good without any, as with random examples."
    )

    def compute(self, model: ModelOutputs, retrained: ModelOutputs | None) -> float | None:
        """Return the ratio; None where it cannot be stated."""
        steps = RelearnSteps(**vars(self))
        if retrained is None or not (theirs := steps(retrained)):
            return None
        ours = steps(model)
        return None if ours is None else ours / theirs

    def evidence(self, model: ModelOutputs, retrained: ModelOutputs | None) -> Mapping[str, Any]:
        """Return nothing: the curves are those of the steps."""
        return {}
