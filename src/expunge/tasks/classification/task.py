"""The family of image classifiers, and of everything else that returns logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from expunge.batch import Examples, Predictor, Split
from expunge.budget import Criterion, ForgettingCriterion
from expunge.request.request_file import RequestFile
from expunge.tasks.classification.model_fit import measure_classifier_fit
from expunge.tasks.classification.request import ClassificationConfig
from expunge.tasks.classification.training import train_classifier
from expunge.tasks.model_fit import ModelFit
from expunge.tasks.task import Task
from expunge.tasks.train_settings import TrainRecord, TrainSettings


class Classification(Task):
    """Models that return one logit for each class, or a single logit for the labels 0 and 1.

    Examples:
        >>> Classification().name
        'classification'
    """

    request: ClassVar[type[RequestFile]] = ClassificationConfig
    is_classifier: ClassVar[bool] = True

    def make_predictor(self, model: nn.Module, logits: Callable[[Any], Tensor] | None = None) -> Predictor:
        """Return the model with the way to read its logits."""
        return Predictor(model, logits)

    def make_criterion(self, split: Split, control: Examples) -> Criterion:
        """Return the two targets of classes, see ``ForgettingCriterion``."""
        return ForgettingCriterion(split, control)

    def measure_fit(self, predict: Predictor, split: Split, *, has_budget: bool) -> tuple[ModelFit, ...]:
        """Return the share of examples that the model is right about, see ``classifier_fit``."""
        return measure_classifier_fit(predict, split)

    def train(self, model: nn.Module, examples: Examples, settings: TrainSettings, **options: Any) -> TrainRecord:
        """Train a classifier in place, see ``train_classifier``."""
        return train_classifier(model, examples, settings, **options)
