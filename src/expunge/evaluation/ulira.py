"""U-LiRA as a metric: what many models that have unlearned give away about single examples."""

from __future__ import annotations

from typing import Any, ClassVar

from expunge.evaluation.metric import MetricBase
from expunge.metrics import LikelihoodRatio, likelihood_ratio_attack
from expunge.metrics.likelihood_ratio import STD_FLOOR


class UnlearningLiRA(MetricBase):
    """Tell example by example what models were trained on and unlearned from what they never saw (U-LiRA).

    Args:
        floor: Least standard deviation of a Gaussian, as a share of the median one over the examples.
        resamples: Bootstrap samples for the intervals.
        seed: Of the resampling.

    Examples:
        >>> import numpy as np
        >>> inside = np.array([[1, 0]] * 3 + [[0, 1]] * 3, dtype=bool)
        >>> scores = np.where(inside, 4.0, -4.0) + 0.1 * np.arange(6)[:, None]
        >>> UnlearningLiRA()(scores, inside).balanced_accuracy
        1.0
    """

    name: ClassVar[str] = "u_lira"
    aliases = ("ulira",)
    label = "U-LiRA"
    unit = "%"
    target = "50 %, where nothing is left to find; the models before unlearning show what there was"
    definition = (
        "Share of pairs of a model and an example that a likelihood-ratio attack tells right, members and others "
        "weighted alike: one Gaussian of log p_y − log(1 − p_y) under models that were trained on the example and then "
        "unlearned it, one under models that never saw it, the judged model and its complement left out. It needs many "
        "models; attacks on the scores of one understate what this one finds."
    )

    def __init__(self, floor: float = STD_FLOOR, resamples: int = 1000, seed: int = 0) -> None:
        self.floor, self.resamples, self.seed = floor, resamples, seed

    def __call__(self, outputs: Any, membership: Any, *, targets: Any = None, groups: Any = None) -> LikelihoodRatio:
        """Return the attack's balanced accuracy, area, recalls and their intervals, as shares from 0 to 1.

        Args:
            outputs: Scores ``(models, examples)`` or logits ``(models, examples, classes)`` of the unlearned models.
            membership: Which model was trained on which example, booleans ``(models, examples)``.
            targets: Labels ``(examples,)``, needed with logits.
            groups: A number for each model; those with the same number are left out together.

        Raises:
            DataError: If the forms do not fit, or there are too few models.
        """
        return likelihood_ratio_attack(
            outputs,
            membership,
            targets=targets,
            groups=groups,
            floor=self.floor,
            resamples=self.resamples,
            seed=self.seed,
        )

    def to_percent(self, result: LikelihoodRatio) -> float:
        """Return the number for a table: the balanced accuracy in percent."""
        return 100.0 * result.balanced_accuracy
