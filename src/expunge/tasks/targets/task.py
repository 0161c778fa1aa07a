"""The base of tasks whose models are trained on a loss between outputs and targets of as many numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from expunge.batch import Examples, Predictor, Split, evaluation_mode
from expunge.budget import Criterion, LossCriterion, iterate_batches
from expunge.data import Subset, as_target_examples
from expunge.errors import ConfigError, ExpungeError, ModelError, NotFiniteError
from expunge.metrics import Column
from expunge.objectives import (
    CrossEntropy,
    Distillation,
    NegativeCrossEntropy,
    NeighborLabel,
    Objective,
    RandomLabel,
    UniformTarget,
)
from expunge.tasks.loss_figures import ModelFigures, select_kept
from expunge.tasks.model_fit import CHANCE_LIMIT, WEAK_LIMIT, FitLevel, ModelFit, SplitSide, sample_examples
from expunge.tasks.targets.loss import PointwiseLoss
from expunge.tasks.targets.objectives import (
    MeanTarget,
    NegativeTargetLoss,
    NeighborTarget,
    PermutedTarget,
    TargetDistillation,
    TargetLoss,
)
from expunge.tasks.targets.predictions import collect_predictions, compute_r2
from expunge.tasks.task import Task

NUM_PROBE_EXAMPLES = 64
OUTPUT_GAP = Column(
    "output_gap",
    "gap to retrained",
    "",
    "Mean absolute difference between the predictions of the model and of the retrained one on the forgotten examples.",
    "lower",
)


class TargetTask(Task, ABC):
    """Models that return as many numbers as an example has targets.

    Attributes:
        objectives: Objective for classes → the one that takes its place.
    """

    objectives: ClassVar[Mapping[type[Objective], type[Objective]]] = {
        CrossEntropy: TargetLoss,
        NegativeCrossEntropy: NegativeTargetLoss,
        RandomLabel: PermutedTarget,
        UniformTarget: MeanTarget,
        Distillation: TargetDistillation,
        NeighborLabel: NeighborTarget,
    }
    inherits_objectives_from: ClassVar[tuple[str, ...]] = ("regression",)
    default_method: ClassVar[str] = "neighbor_labels"
    budget_method: ClassVar[str] = "neighbor_labels"
    learning_rates: ClassVar[tuple[float, ...]] = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
    defaults: ClassVar[Mapping[str, Any]] = {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.0, "batch_size": 64}

    utility_columns: ClassVar[tuple[Column, ...]] = ()

    @property
    @abstractmethod
    def loss(self) -> PointwiseLoss:
        """The loss of its models, once the examples are known."""

    def read_examples(self, dataset: Any) -> Examples:
        """Return a data set as examples whose targets are numbers."""
        return as_target_examples(dataset)

    def make_predictor(self, model: nn.Module, logits: Callable[[Any], Tensor] | None = None) -> Predictor:
        """Return the model with its outputs read as ``(n, k)``, and the loss of its training."""

        def read_outputs(output: Any) -> Any:
            values = logits(output) if logits is not None else getattr(output, "logits", output)
            return values[:, None] if isinstance(values, Tensor) and values.ndim == 1 else values

        return Predictor(model, read_outputs, self.loss)

    def count_classes(self, predict: Predictor, *sides: Examples) -> int:
        """Return the number of groups, after outputs and targets of a few examples have been compared.

        Raises:
            ExpungeError: If they are not of one form, or not finite, or nothing can be learned from them.
        """
        for examples in sides:
            self.check_examples(predict, examples)
        return 1 + max(int(examples.targets.max()) for examples in sides)

    def check_examples(self, predict: Predictor, examples: Examples) -> None:
        """Refuse examples that the model does not take, or whose targets are none of its outputs.

        Raises:
            ExpungeError: If they are.
        """
        probe = Subset(examples, torch.arange(min(NUM_PROBE_EXAMPLES, len(examples))))
        batch = next(iterate_batches(predict, probe, NUM_PROBE_EXAMPLES))
        try:
            with evaluation_mode(predict.model):
                losses = predict.losses(batch)
        except ExpungeError:
            raise
        except Exception as error:  # the user's code may raise anything
            form = tuple(batch.inputs.shape) if isinstance(batch.inputs, Tensor) else type(batch.inputs).__name__
            actual = f"{type(error).__name__} ({error})"
            raise ModelError(f"a model that takes inputs {form}", actual, "correct the inputs or the model") from error
        if not bool(torch.isfinite(losses).all()):
            actual = f"NaN or infinity for {int((~torch.isfinite(losses)).sum())} of the first {len(losses)} examples"
            raise NotFiniteError("finite losses", actual, "check the model's weights and the inputs")

    def translate_objective(self, objective: Objective) -> Objective:
        """Return the objective, or the one for targets in its place.

        Raises:
            ConfigError: If there is none.
        """
        if type(objective) in self.objectives:
            return self.objectives[type(objective)]()
        return super().translate_objective(objective)

    def make_criterion(self, split: Split, control: Examples) -> Criterion:
        """Return how far losses on forgotten examples are from those on held-out ones."""
        return LossCriterion(split, control, self.count_recognized)

    def count_recognized(self, predict: Predictor, examples: Examples) -> tuple[int, int]:
        """Return of how many examples a model still says what is to be forgotten of all of them, and their number."""
        recognition = self.measure_recognition(predict, examples)
        return 0 if recognition is None else round(recognition.fraction * len(examples)), len(examples)

    @abstractmethod
    def score_utility(self, outputs: Tensor, targets: Tensor) -> dict[str, float | None]:
        """Return what the model is worth on some examples, by the first words of columns."""

    def measure(
        self, predict: Predictor, split: Split, test: Examples, retrained: Predictor | None, batch_size: int
    ) -> ModelFigures:
        """Return losses, utility on each part, and how far the model is from a retrained one."""
        figures = super().measure(predict, split, test, retrained, batch_size)
        scores = dict(figures.scores)
        parts = {"forget": split.forget, "retain": split.retain, "test": select_kept(split, test)}
        for name, part in ((name, part) for name, part in parts.items() if len(part)):
            utility = self.score_utility(*collect_predictions(predict, part, batch_size))
            scores |= {f"{key}_{name}": value for key, value in utility.items()}
        if retrained is not None:
            pair = (collect_predictions(one, split.forget, batch_size)[0] for one in (predict, retrained))
            scores[OUTPUT_GAP.key] = float(self.loss.difference(*map(self.loss.decode, pair)).abs().mean())
        known = {column.key for column in self.list_columns()}
        return ModelFigures({key: value for key, value in scores.items() if key in known}, figures.evidence)

    def measure_fit(self, predict: Predictor, split: Split, *, has_budget: bool) -> tuple[ModelFit, ...]:
        """Return how much of the targets' variance the model explains on retained and held-out examples."""
        sides: dict[SplitSide, Examples | None] = {"retain": split.retain, "holdout": split.holdout}
        return tuple(
            self.assess_fit(side, predict, examples)
            for side, examples in sides.items()
            if examples is not None and len(examples)
        )

    def assess_fit(self, side: SplitSide, predict: Predictor, examples: Examples) -> ModelFit:
        """Return R² on a sample; a model that knows its rows by heart may do badly on held-out ones."""
        outputs, targets = collect_predictions(predict, chosen := sample_examples(examples))
        value = compute_r2(self.loss.decode(outputs), targets) or 0.0
        level: FitLevel = "good"
        if side == "retain":
            level = "below" if not value > CHANCE_LIMIT else "weak" if value < WEAK_LIMIT else "good"
        return ModelFit(side, "variance", len(chosen), value, 0.0, level)

    def name_classes(self, names: Sequence[str] | None, classes: int) -> Sequence[str]:
        """Return no names: there are no classes.

        Raises:
            ConfigError: If some are given.
        """
        if names is not None:
            raise ConfigError(f"no class_names for task='{self.name}'", "some", "leave them out")
        return []

    def list_columns(self) -> tuple[Column, ...]:
        """Return losses, utility, and the distance to a retrained model."""
        return (*self.utility_columns, *super().list_columns(), OUTPUT_GAP)
