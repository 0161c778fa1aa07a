"""How far a model is from having forgotten, as its family can tell it without a retrained model."""

from __future__ import annotations

from expunge.api.steering.budget_validation import no_budget_error
from expunge.api.steering.lr_range_test import subsample
from expunge.batch import Examples, Predictor, Split
from expunge.budget import Criterion, CriterionValue
from expunge.metrics import run_recognition_test
from expunge.tasks.task import Task

CHECK_SIZE = 128
"""Forgotten examples that a model is asked about at a reading; there are ten readings at most."""


class DenoisingErrorCriterion:
    """Whether a model still recognizes the forgotten examples by its own error, for models without classes to be right.

    Args:
        family: Of the model.
        forget: The examples to forget.

    Raises:
        ConfigError: When called, if the family cannot say.
    """

    limit: float
    uses_model_error: bool = True
    slack = 0.0

    def __init__(self, family: Task, forget: Examples) -> None:
        self.family, self.examples, self.limit = family, subsample(forget, CHECK_SIZE, 0), 0.0

    def __call__(self, predict: Predictor, look: int = 1) -> CriterionValue:
        """Return the share that is recognized, and how far it is above the family's limit."""
        recognition = self.family.measure_recognition(predict, self.examples)
        if recognition is None:
            raise no_budget_error(self.family)
        self.limit = recognition.limit
        count = len(self.examples)
        test_result = run_recognition_test(round(recognition.fraction * count), count, recognition.limit)
        shortfall = max(0.0, recognition.fraction - recognition.limit)
        return CriterionValue(shortfall, recognition.fraction, test=test_result)


def make_criterion(family: Task, split: Split, control: Examples) -> Criterion:
    """Return what says how much of the forgetting is missing."""
    criterion = family.make_criterion(split, control)
    return DenoisingErrorCriterion(family, split.forget) if criterion is None else criterion
