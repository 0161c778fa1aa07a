"""The family of image classifiers, and of everything else that returns logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from expunge.batch import Examples, Predictor, Split
from expunge.tasks.classification.model_fit import measure_classifier_fit
from expunge.tasks.model_fit import ModelFit
from expunge.tasks.task import Task
from expunge.weights import save_weights


class Classification(Task):
    """Models that return one logit for each class.

    Examples:
        >>> Classification().name
        'classification'
    """

    is_classifier: ClassVar[bool] = True

    def make_predictor(self, model: nn.Module, logits: Callable[[Any], Tensor] | None = None) -> Predictor:
        """Return the model with the way to read its logits."""
        return Predictor(model, logits)

    def count_classes(self, predict: Predictor, *sides: Examples) -> int | None:
        """Return None: the logits of an example are as many as there are classes."""
        return None

    def measure_fit(self, predict: Predictor, split: Split, *, has_budget: bool) -> tuple[ModelFit, ...]:
        """Return the share of examples that the model is right about, see ``classifier_fit``."""
        return measure_classifier_fit(predict, split)

    def save(self, model: nn.Module, folder: Path) -> Path:
        """Write ``unlearned.safetensors``."""
        return save_weights(model, folder / "unlearned.safetensors", overwrite=True)
