"""How far a model is from having forgotten, as its family can tell it without a retrained model."""

from __future__ import annotations

from expunge.api.steering.ranging import some
from expunge.api.steering.wish import unbudgeted
from expunge.batch import Examples, Predictor, Split
from expunge.budget import Criterion, Forgetting, Forgotten
from expunge.metrics import recognition_test
from expunge.tasks.family import Family

LOOKED = 128
"""Forgotten examples that a model is asked about at a reading; there are ten readings at most."""


class OwnError:
    """Whether a model still recognises the forgotten examples by its own error, for models without classes to be right.

    Args:
        family: Of the model.
        forget: The examples to forget.

    Raises:
        ConfigError: When called, if the family cannot say.
    """

    limit: float
    own: bool = True
    slack = 0.0

    def __init__(self, family: Family, forget: Examples) -> None:
        self.family, self.examples, self.limit = family, some(forget, LOOKED, 0), 0.0

    def __call__(self, predict: Predictor, look: int = 1) -> Forgotten:
        """Return the share that is recognised, and how far it is above the family's limit."""
        found = self.family.recognised(predict, self.examples)
        if found is None:
            raise unbudgeted(self.family)
        self.limit = found.limit
        count = len(self.examples)
        shown = recognition_test(round(found.share * count), count, found.limit)
        return Forgotten(max(0.0, found.share - found.limit), found.share, test=shown)


def forgetting_of(family: Family, split: Split, control: Examples) -> Criterion:
    """Return what says how much of the forgetting is missing.

    Args:
        family: Of the model.
        split: The request.
        control: Held-out examples of the classes that stay.

    Raises:
        DataError: If there are too few held-out examples to say it.
    """
    return Forgetting(split, control) if family.votes else OwnError(family, split.forget)
