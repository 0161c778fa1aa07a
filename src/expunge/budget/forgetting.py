"""Forgetting: how far a model is from having forgotten what was asked, without any retrained model."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from expunge.batch import Examples, Predictor, Split, looking
from expunge.budget.levels import level_of
from expunge.budget.reading import parts, read
from expunge.budget.stop import Verdict, least_margin, verdict_of
from expunge.data import Subset
from expunge.errors import DataError
from expunge.metrics import HeldOutTest, Interval, classes_test, held_out_test, joint_test
from expunge.metrics.arrays import Floats, Integers
from expunge.metrics.held_out import MARGIN, RECOGNISED

__all__ = ["CLOSE", "MARGIN", "MOST", "RECOGNISED", "Criterion", "Forgetting", "Forgotten", "few", "whole_classes"]
CLOSE = 0.01
"""How far the accuracy on forgotten examples may lie from that on held-out ones, within classes."""
MOST = 2_000
"""Forgotten examples that are looked at, at most."""


class Forgotten(NamedTuple):
    """What one look found.

    Args:
        missing: How far from what was asked, ≥ 0, the largest of: the share recognised beyond ``RECOGNISED``, |AUC − ½|
            beyond ``MARGIN``, and the difference of accuracies on forgotten and held-out examples beyond ``CLOSE``,
            both within classes and weighted by the forgotten examples in each.
        recognised: Share of the forgotten classes still recognised, on forgotten or held-out examples, whichever is
            more; None if no class is forgotten as a whole.
        auc: Of telling forgotten from held-out examples of the same classes by their loss; None if only whole classes
            are forgotten.
        verdict: Of the equivalence test on that AUC.
        test: What is shown of it, which so few examples may leave undecided; None where it was not tested.
    """

    missing: float
    recognised: float | None = None
    auc: float | None = None
    verdict: Verdict | None = None
    test: HeldOutTest | None = None


class Criterion(Protocol):
    """What says at a reading how far a model is from what was asked.

    Attributes:
        limit: Share of what is to be forgotten as a whole that may still be recognised.
        own: Whether it is recognised by the model's own error, and not by what a classifier answers.
    """

    limit: float
    own: bool

    @property
    def slack(self) -> float:
        """Differences of what is missing that so few examples do not tell."""
        ...

    def __call__(self, predict: Predictor, look: int = 1) -> Forgotten:
        """Look at a model in evaluation mode; it is left as it was found."""
        ...


class Forgetting:
    """The two principled targets: a class is no longer recognised, single examples look like held-out ones.

    Args:
        split: Of the request; what is held out of the forgotten classes is read from its ``holdout``.
        control: Held-out examples of the classes that stay.

    Raises:
        DataError: If there are no held-out examples of the classes of forgotten single examples.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> part = lambda *labels: TensorExamples(torch.eye(3)[list(labels)], list(labels))
        >>> split = Split(part(2, 2), part(0, 1), 3, part(0, 1, 2))
        >>> found = Forgetting(split, part(0, 1))(Predictor(torch.nn.Identity()))
        >>> found.missing, found.recognised, found.auc, found.test.verdict
        (0.995, 1.0, None, 'still distinguishable')
    """

    limit: float = RECOGNISED
    own: bool = False

    def __init__(self, split: Split, control: Examples) -> None:
        whole = whole_classes(split)
        self.gone = [few(side, whole) for side in (split.forget, split.holdout) if side is not None]
        self.gone = [side for side in self.gone if len(side)]
        others = sorted({*split.forget.targets.tolist()} - {*whole})
        self.single, self.unseen = few(split.forget, others), few(control, others)
        if len(self.single) and not len(self.unseen):
            raise DataError("held-out examples of the forgotten ones' classes", "none", "hold out some of each class")

    @property
    def slack(self) -> float:
        """Differences of ``missing`` that so few examples do not tell: half a standard error of a share of ½."""
        return 0.25 / len(self.single) ** 0.5 if len(self.single) else 0.0

    @property
    def examples(self) -> int:
        """How many examples one look reads."""
        return sum(len(side) for side in (*self.gone, self.single, self.unseen))

    def __call__(self, predict: Predictor, look: int = 1) -> Forgotten:
        """Look at a model in evaluation mode; it is left as it was found.

        Args:
            predict: The model.
            look: Which look this is, from 1: the equivalence test spends its level over them.
        """
        level = level_of(look)
        whole = classes_test([hits(predict, side) for side in self.gone])
        recognised = None if whole is None else whole.recognised
        far = [0.0 if recognised is None else recognised - RECOGNISED]
        if not len(self.single):
            return Forgotten(max(0.0, *far), recognised, test=whole)
        (seen, right), (unseen, as_right) = said(predict, self.single), said(predict, self.unseen)
        labels = labels_of(self.single), labels_of(self.unseen)
        found = held_out_test((seen, unseen), (right, as_right), labels, MARGIN, level)
        auc, gap, ends = (stated(value) for value in (found.auc, found.gap, found.auc_low))
        interval = Interval(ends, stated(found.auc_high))
        decided = least_margin(found.examples, found.held_out, level) <= MARGIN
        far += [abs(auc - 0.5) - MARGIN, abs(gap) - CLOSE]
        test = found if whole is None else joint_test(found, whole)
        return Forgotten(max(0.0, *far), recognised, auc, verdict_of(interval, MARGIN, decided), test)


def hits(predict: Predictor, examples: Examples) -> tuple[int, int]:
    """Return how many examples a model is right about, and of how many."""
    return int(np.sum(read(predict, examples).right)), len(examples)  # type: ignore[arg-type]


def labels_of(examples: Examples) -> Integers:
    """Return the labels of examples as an array."""
    labels: Integers = examples.targets.cpu().numpy()
    return labels


def stated(value: float | None) -> float:
    """Return a figure that a test of single examples has."""
    return 0.5 if value is None else value


def whole_classes(split: Split) -> list[int]:
    """Return the classes of which nothing is retained.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> part = lambda *labels: TensorExamples(torch.zeros(len(labels), 1), list(labels))
        >>> whole_classes(Split(part(1, 2), part(0, 0, 1), 3))
        [2]
    """
    return sorted({*split.forget.targets.tolist()} - {*split.retain.targets.tolist()})


def few(examples: Examples, classes: list[int]) -> Subset:
    """Return at most ``MOST`` of the examples of some classes, drawn the same way each time."""
    found = torch.isin(examples.targets, torch.tensor(classes, dtype=torch.int64)).nonzero().flatten()
    drawn = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))[:MOST]
    return Subset(examples, found[drawn].sort().values)


def said(predict: Predictor, examples: Examples) -> tuple[Floats, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Return minus the loss of each example, larger meaning more like a member, and which are right."""
    scores: list[Tensor] = []
    right: list[Tensor] = []
    with looking(predict.model):
        for part in parts(predict, examples, 256):
            logits = predict(part.inputs).float()
            scores.append(-functional.cross_entropy(logits, part.targets, reduction="none").cpu())
            right.append((logits.argmax(1) == part.targets).cpu())
    return torch.cat(scores).double().numpy(), torch.cat(right).numpy()
