"""Forgetting: how far a model is from having forgotten what was asked, without any retrained model."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from expunge.batch import Examples, Predictor, Split, looking
from expunge.budget.reading import parts, read
from expunge.budget.stop import Floats, Verdict, equivalence
from expunge.data import Subset
from expunge.errors import DataError

RECOGNISED = 0.005
"""Largest share of a forgotten class that may still be recognised."""
MARGIN = 0.05
"""How far from .5 the AUC of forgotten against held-out examples may lie."""
CLOSE = 0.01
"""How far the accuracy on forgotten examples may lie from that on held-out ones of the same classes."""
MOST = 2_000
"""Forgotten examples that are looked at, at most."""


class Forgotten(NamedTuple):
    """What one look found.

    Args:
        missing: How far from what was asked, ≥ 0, the largest of: the share recognised beyond ``RECOGNISED``, |AUC − ½|
            beyond ``MARGIN``, and the difference of accuracies on forgotten and held-out examples beyond ``CLOSE``.
        recognised: Share of the forgotten classes still recognised, on forgotten or held-out examples, whichever is
            more; None if no class is forgotten as a whole.
        auc: Of telling forgotten from held-out examples of the same classes by their loss; None if only whole classes
            are forgotten.
        verdict: Of the equivalence test on that AUC.
    """

    missing: float
    recognised: float | None = None
    auc: float | None = None
    verdict: Verdict | None = None


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
        >>> Forgetting(split, part(0, 1))(Predictor(torch.nn.Identity()))
        Forgotten(missing=0.995, recognised=1.0, auc=None, verdict=None)
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
        shares = [share(predict, side) for side in self.gone]
        recognised = max(shares, default=None)
        far = [0.0 if recognised is None else recognised - RECOGNISED]
        if not len(self.single):
            return Forgotten(max(0.0, *far), recognised)
        (seen, right), (unseen, as_right) = said(predict, self.single), said(predict, self.unseen)
        found = equivalence(seen, unseen, MARGIN, look=look)
        far += [abs(found.auc - 0.5) - MARGIN, abs(right - as_right) - CLOSE]
        return Forgotten(max(0.0, *far), recognised, found.auc, found.verdict)


def share(predict: Predictor, examples: Examples) -> float:
    """Return the share of examples that a model is right about."""
    return float(np.mean(read(predict, examples).right))  # type: ignore[arg-type]


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


def said(predict: Predictor, examples: Examples) -> tuple[Floats, float]:
    """Return minus the loss of each example, larger meaning more like a member, and the share that is right."""
    scores: list[Tensor] = []
    right: list[Tensor] = []
    with looking(predict.model):
        for part in parts(predict, examples, 256):
            logits = predict(part.inputs).float()
            scores.append(-functional.cross_entropy(logits, part.targets, reduction="none").cpu())
            right.append((logits.argmax(1) == part.targets).cpu())
    return torch.cat(scores).double().numpy(), float(torch.cat(right).double().mean())
