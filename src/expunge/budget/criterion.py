"""Forgetting: how far a model is from having forgotten what was asked, without any retrained model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from expunge.batch import Examples, Predictor, Split, evaluation_mode, sample_indices
from expunge.budget.alpha_spending import spend_alpha
from expunge.budget.equivalence_test import EquivalenceOutcome, decide_outcome, min_margin
from expunge.budget.holdout_evaluation import compute_losses, evaluate_model, iterate_batches
from expunge.data import Subset
from expunge.errors import DataError
from expunge.metrics import HeldOutTest, Interval, combine_tests, run_class_test, run_held_out_test
from expunge.metrics.arrays import Floats, Integers
from expunge.metrics.held_out import MARGIN, MAX_RECOGNIZED

__all__ = [
    "ACCURACY_TOLERANCE",
    "MARGIN",
    "MAX_EXAMPLES",
    "MAX_RECOGNIZED",
    "Criterion",
    "CriterionValue",
    "ForgettingCriterion",
    "LossCriterion",
    "find_forgotten_classes",
    "subsample_classes",
]
ACCURACY_TOLERANCE = 0.01
"""How far the accuracy on forgotten examples may lie from that on held-out ones, within classes."""
MAX_EXAMPLES = 2_000
"""Forgotten examples that are evaluated, at most."""


class CriterionValue(NamedTuple):
    """What one evaluation found.

    Args:
        shortfall: How far from what was asked, ≥ 0, the largest of: the share recognized beyond ``MAX_RECOGNIZED``,
            |AUC − ½| beyond ``MARGIN``, and the difference of accuracies on forgotten and held-out examples beyond
            ``ACCURACY_TOLERANCE``, both within classes and weighted by the forgotten examples in each.
        recognized: Share of the forgotten classes still recognized, on forgotten or held-out examples, whichever is
            more; None if no class is forgotten as a whole.
        auc: Of telling forgotten from held-out examples of the same classes by their loss; None if only whole classes
            are forgotten.
        verdict: Of the equivalence test on that AUC.
        test: What is shown of it, which so few examples may leave undecided; None where it was not tested.
    """

    shortfall: float
    recognized: float | None = None
    auc: float | None = None
    verdict: EquivalenceOutcome | None = None
    test: HeldOutTest | None = None


class Criterion(Protocol):
    """What says at a reading how far a model is from what was asked.

    Attributes:
        limit: Share of what is to be forgotten as a whole that may still be recognized.
        uses_model_error: Whether it is recognized by the model's own error, and not by what a classifier answers.
    """

    limit: float
    uses_model_error: bool

    @property
    def slack(self) -> float:
        """Differences of what is missing that so few examples do not tell."""
        ...

    def __call__(self, predict: Predictor, look: int = 1) -> CriterionValue:
        """Look at a model in evaluation mode; it is left as it was found."""
        ...


class ForgettingCriterion:
    """The two principled targets: a class is no longer recognized, single examples look like held-out ones.

    Args:
        split: Of the request; what is held out of the forgotten classes is read from its ``holdout``.
        control: Held-out examples of the classes that stay.

    Raises:
        DataError: If there are no held-out examples of the classes of forgotten single examples.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> part = lambda *labels: TensorExamples(torch.eye(3)[list(labels)], list(labels))
        >>> split = Split(part(2, 2), part(0, 1), 3, part(0, 1, 2))
        >>> found = ForgettingCriterion(split, part(0, 1))(Predictor(torch.nn.Identity()))
        >>> found.shortfall, found.recognized, found.auc, found.test.verdict
        (0.995, 1.0, None, 'still distinguishable')
    """

    limit: float = MAX_RECOGNIZED
    uses_model_error: bool = False

    def __init__(self, split: Split, control: Examples) -> None:
        classes = find_forgotten_classes(split)
        self.class_examples = [
            subsample_classes(side, classes) for side in (split.forget, split.holdout) if side is not None
        ]
        self.class_examples = [side for side in self.class_examples if len(side)]
        single_classes = sorted({*split.forget.targets.tolist()} - {*classes})
        self.single_examples, self.holdout_examples = (
            subsample_classes(split.forget, single_classes),
            subsample_classes(control, single_classes),
        )
        if len(self.single_examples) and not len(self.holdout_examples):
            raise DataError("held-out examples of the forgotten ones' classes", "none", "hold out some of each class")

    @property
    def slack(self) -> float:
        """Differences of ``missing`` that so few examples do not tell: half a standard error of a share of ½."""
        return 0.25 / len(self.single_examples) ** 0.5 if len(self.single_examples) else 0.0

    @property
    def num_examples(self) -> int:
        """How many examples one look reads."""
        return sum(len(side) for side in (*self.class_examples, self.single_examples, self.holdout_examples))

    def __call__(self, predict: Predictor, look: int = 1) -> CriterionValue:
        """Look at a model in evaluation mode; it is left as it was found.

        Args:
            predict: The model.
            look: Which look this is, from 1: the equivalence test spends its level over them.
        """
        level = spend_alpha(look)
        class_test = run_class_test([count_correct(predict, side) for side in self.class_examples])
        recognized = None if class_test is None else class_test.recognized
        distances = [0.0 if recognized is None else recognized - MAX_RECOGNIZED]
        if not len(self.single_examples):
            return CriterionValue(max(0.0, *distances), recognized, test=class_test)
        (forget_scores, forget_correct), (holdout_scores, holdout_correct) = (
            losses_and_correct(predict, self.single_examples),
            losses_and_correct(predict, self.holdout_examples),
        )
        labels = get_labels(self.single_examples), get_labels(self.holdout_examples)
        single_test = run_held_out_test(
            (forget_scores, holdout_scores), (forget_correct, holdout_correct), labels, MARGIN, level
        )
        auc, gap, low = (value_or_half(value) for value in (single_test.auc, single_test.gap, single_test.auc_low))
        interval = Interval(low, value_or_half(single_test.auc_high))
        decided = min_margin(single_test.examples, single_test.held_out, level) <= MARGIN
        distances += [abs(auc - 0.5) - MARGIN, abs(gap) - ACCURACY_TOLERANCE]
        test = single_test if class_test is None else combine_tests(single_test, class_test)
        return CriterionValue(max(0.0, *distances), recognized, auc, decide_outcome(interval, MARGIN, decided), test)


class LossCriterion:
    """The same targets for models whose answers are not right or wrong: the losses look like held-out ones.

    Args:
        split: Of the request.
        control: Held-out examples of the groups that stay.
        count_recognized: Takes a model and examples of a group that is forgotten as a whole; returns how many of them
            it still recognizes, and how many there are.

    Raises:
        DataError: If there are no held-out examples to compare with.
    """

    limit: float = MAX_RECOGNIZED
    uses_model_error: bool = False

    def __init__(
        self, split: Split, control: Examples, count_recognized: Callable[[Predictor, Examples], tuple[int, int]]
    ) -> None:
        groups = find_forgotten_classes(split)
        sides = [subsample_classes(side, groups) for side in (split.forget, split.holdout) if side is not None]
        self.group_examples, self.count_recognized = [side for side in sides if len(side)], count_recognized
        single_groups = sorted({*split.forget.targets.tolist()} - {*groups})
        self.single_examples, self.holdout_examples = (
            subsample_classes(side, single_groups) for side in (split.forget, control)
        )
        if len(self.single_examples) and not len(self.holdout_examples):
            raise DataError("held-out examples to compare the forgotten ones with", "none", "hold out some")

    @property
    def slack(self) -> float:
        """Differences of ``missing`` that so few examples do not tell: half a standard error of a share of ½."""
        return 0.25 / len(self.single_examples) ** 0.5 if len(self.single_examples) else 0.0

    def __call__(self, predict: Predictor, look: int = 1) -> CriterionValue:
        """Look at a model in evaluation mode; it is left as it was found.

        Args:
            predict: The model.
            look: Which look this is, from 1: the equivalence test spends its level over them.
        """
        level = spend_alpha(look)
        group_test = run_class_test([self.count_recognized(predict, side) for side in self.group_examples])
        recognized = None if group_test is None else group_test.recognized
        distance = 0.0 if recognized is None else recognized - MAX_RECOGNIZED
        if not len(self.single_examples):
            return CriterionValue(max(0.0, distance), recognized, test=group_test)
        sides = self.single_examples, self.holdout_examples
        losses = [-compute_losses(predict, side) for side in sides]
        labels = [get_labels(side) for side in sides]
        test = run_held_out_test((losses[0], losses[1]), None, (labels[0], labels[1]), MARGIN, level)
        auc, low, high = (value_or_half(value) for value in (test.auc, test.auc_low, test.auc_high))
        decided = min_margin(test.examples, test.held_out, level) <= MARGIN
        verdict = decide_outcome(Interval(low, high), MARGIN, decided)
        test = test if group_test is None else combine_tests(test, group_test)
        return CriterionValue(max(0.0, distance, abs(auc - 0.5) - MARGIN), recognized, auc, verdict, test)


def count_correct(predict: Predictor, examples: Examples) -> tuple[int, int]:
    """Return how many examples a model is right about, and of how many."""
    return int(np.sum(evaluate_model(predict, examples).correct)), len(examples)  # type: ignore[arg-type]


def get_labels(examples: Examples) -> Integers:
    labels: Integers = examples.targets.cpu().numpy()
    return labels


def value_or_half(value: float | None) -> float:
    """Return a figure that a test of single examples has."""
    return 0.5 if value is None else value


def find_forgotten_classes(split: Split) -> list[int]:
    """Return the classes of which nothing is retained.

    Classes that earlier requests forgot are none of them, unless the request is about such classes alone.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> part = lambda *labels: TensorExamples(torch.zeros(len(labels), 1), list(labels))
        >>> find_forgotten_classes(Split(part(1, 2), part(0, 0, 1), 3))
        [2]
    """
    labels, earlier = set(split.forget.targets.tolist()), set(split.forgotten_classes)
    return sorted(labels - set(split.retain.targets.tolist()) - (set() if labels <= earlier else earlier))


def subsample_classes(examples: Examples, classes: list[int]) -> Subset:
    """Return at most ``MAX_EXAMPLES`` of the examples of some classes, drawn the same way each time."""
    positions = torch.isin(examples.targets, torch.tensor(classes, dtype=torch.int64)).nonzero().flatten()
    drawn = sample_indices(len(positions), MAX_EXAMPLES)
    return Subset(examples, positions[drawn].sort().values)


def losses_and_correct(predict: Predictor, examples: Examples) -> tuple[Floats, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Return minus the loss of each example, larger meaning more like a member, and which are right."""
    scores: list[Tensor] = []
    correct: list[Tensor] = []
    with evaluation_mode(predict.model):
        for part in iterate_batches(predict, examples, 256):
            logits = predict(part.inputs).float()
            scores.append(-functional.cross_entropy(logits, part.targets, reduction="none").cpu())
            correct.append((logits.argmax(1) == part.targets).cpu())
    return torch.cat(scores).double().numpy(), torch.cat(correct).numpy()
