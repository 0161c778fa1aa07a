"""The membership part of a report: every score with its area, its recall at few false alarms, and their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from expunge.errors import DataError
from expunge.metrics.arrays import Interval
from expunge.metrics.attacks.membership import SCORE_NAMES, ClassMatchedScores, ScoreName, match_classes, tpr_at_fpr
from expunge.metrics.attacks.stratified import build_strata
from expunge.metrics.bootstrap import Recall, tpr_interval
from expunge.metrics.outputs import ModelOutputs

TAIL_LEVEL = 0.025
"""Level on either side of an interval."""


@dataclass(frozen=True)
class Attack:
    """One score's power to tell forget examples from held-out ones of the same classes.

    Args:
        score: What is compared.
        auc: Area under the ROC curve; .5 means indistinguishable.
        interval: Its 95 % interval: DeLong's within classes, exact below 30 examples on a side.
        recalls: Recall at each false positive rate that the number of held-out examples can carry.
    """

    score: ScoreName
    auc: float
    interval: Interval
    recalls: tuple[Recall, ...]

    @property
    def advantage(self) -> float:
        """Distance |AUC − .5|: an area below .5 gives the forgotten away as well as one above."""
        return abs(self.auc - 0.5)

    def as_dict(self) -> dict[str, Any]:
        """Return the form of the result document."""
        recalls = [{"fpr": one.fpr, "tpr": one.tpr, **one.interval._asdict()} for one in self.recalls]
        values = {"score": self.score, "auc": self.auc, **self.interval._asdict(), "distance": self.advantage}
        return values | {"recalls": recalls}


def membership_audit(
    outputs: ModelOutputs, fprs: Sequence[float] = (0.01, 0.001), *, resamples: int = 1000, seed: int = 0
) -> tuple[Attack, ...]:
    """Return what each score gives away about the forget examples.

    These are average-case attacks on one model; they understate what an attack with reference models finds.

    Args:
        outputs: Of the model to audit.
        fprs: False positive rates to state the recall at; one is left out where ``n_out · fpr`` is below 10.
        resamples: Number of bootstrap samples for the recalls.
        seed: Of the resampling.

    Raises:
        DataError: If there are no held-out examples of the classes of the forget set.

    Examples:
        >>> import torch
        >>> from expunge.metrics import Outputs
        >>> part = Outputs(torch.eye(2), torch.tensor([0, 1]))
        >>> first = membership_audit(ModelOutputs(part, part, part))[0]
        >>> first.score, first.auc, first.advantage
        ('loss', 0.5, 0.0)
    """
    return tuple(_run_attack(outputs, score, fprs, resamples, seed) for score in SCORE_NAMES)


def _run_attack(outputs: ModelOutputs, score: ScoreName, fprs: Sequence[float], resamples: int, seed: int) -> Attack:
    sides = match_classes(outputs, score)
    if sides is None:
        actual = "none of them"
        raise DataError("held-out examples of the forgotten classes", actual, "pass a test set that has these classes")
    compared = build_strata(*sides[:4])
    recalls = (_compute_recall(sides, fpr, resamples, seed) for fpr in fprs)
    available = tuple(item for item in recalls if item is not None)
    return Attack(score, compared.auc, compared.interval(TAIL_LEVEL), available)


def _compute_recall(sides: ClassMatchedScores, fpr: float, resamples: int, seed: int) -> Recall | None:
    tpr = tpr_at_fpr(sides.members, sides.others, fpr, weights=sides.weights)
    interval = tpr_interval(sides.members, sides.others, fpr, weights=sides.weights, resamples=resamples, seed=seed)
    return None if tpr is None or interval is None else Recall(fpr, tpr, interval)
