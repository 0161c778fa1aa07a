"""The likelihood-ratio attack on unlearning, example by example, from the scores of many shadow models (U-LiRA)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.errors import DataError
from expunge.metrics.arrays import Floats, Interval
from expunge.metrics.attacks.membership import attack_auc, has_enough_negatives, rank_scores, tpr_at_fpr
from expunge.metrics.bootstrap import Recall, compute_areas, tpr_at
from expunge.metrics.klom import model_scores
from expunge.metrics.metric import MetricBase
from expunge.metrics.statistics import clopper_pearson

Booleans = npt.NDArray[np.bool_]
STD_FLOOR = 0.1
"""Share of the median standard deviation over examples that none falls below."""
MIN_GAUSSIAN_STD = 1e-6
"""Least standard deviation, so that models that all agree have a density."""
MIN_MODELS_PER_GAUSSIAN = 2
"""Models of each kind that a Gaussian is fitted to, at least."""


@dataclass(frozen=True)
class LikelihoodRatio:
    """What the attack finds, over all pairs of a model and an example.

    Args:
        balanced_accuracy: Mean of the shares of members and of non-members that are told right, by the sign of the
            logarithm of the ratio; .5 is guessing.
        interval: Its 95 % bootstrap interval.
        auc: Area under the ROC curve of the ratio over all pairs.
        auc_interval: Its 95 % bootstrap interval.
        recalls: Recall at each false positive rate that the number of non-members can carry.
        models: Number of models.
        examples: Number of examples.
        members: Pairs in which the model was trained on the example.
        others: Pairs in which it was not.
    """

    balanced_accuracy: float
    interval: Interval
    auc: float
    auc_interval: Interval
    recalls: tuple[Recall, ...]
    models: int
    examples: int
    members: int
    others: int


def likelihood_ratios(
    outputs: Any, membership: Any, *, targets: Any = None, groups: Any = None, floor: float = STD_FLOOR
) -> Floats:
    """Return log N(s; in) − log N(s; out) of every model's score s of every example, ``(models, examples)``.

    For each example, one Gaussian is fitted to the scores of the models that were trained on it (and have unlearned it,
    if unlearning is judged) and one to those of the models that never saw it. The model that is judged, and every other
    one of its group, is left out of both.

    Args:
        outputs: Scores ``(models, examples)``, or logits ``(models, examples, classes)``, of which the logit-scaled
            confidence log p_y − log(1 − p_y) is taken.
        membership: Which model was trained on which example, booleans ``(models, examples)``.
        targets: Labels ``(examples,)``, needed with logits.
        groups: A number for each model; those with the same number are left out together. Complementary models, of
            which every example is in one, should be: then as many models of each kind are left for members as for
            others, and what has no information gives no advantage. Default: each model for itself.
        floor: Least standard deviation, as a share of the median one over the examples.

    Raises:
        DataError: If the forms do not fit, or fewer than two models of a kind are left for an example.

    Examples:
        >>> inside = np.array([[1, 0]] * 3 + [[0, 1]] * 3, dtype=bool)
        >>> scores = np.where(inside, 4.0, -4.0) + 0.1 * np.arange(6)[:, None]
        >>> (likelihood_ratios(scores, inside) > 0).astype(int).tolist()
        [[1, 0], [1, 0], [1, 0], [0, 1], [0, 1], [0, 1]]
    """
    scores = model_scores(outputs, targets)
    is_member, numbers = validate_membership(membership, scores.shape), validate_groups(groups, len(scores))
    ratios = np.empty_like(scores)
    for number in np.unique(numbers):
        judged = numbers == number
        others, others_are_members = scores[~judged], is_member[~judged]
        member, non_member = (
            log_density(scores[judged], others, of, floor) for of in (others_are_members, ~others_are_members)
        )
        ratios[judged] = member - non_member
    return ratios


def log_density(values: Floats, scores: Floats, mask: Booleans, floor: float) -> Floats:
    """Return the logarithm of each value's density, without its constant, under its example's Gaussian."""
    count = mask.sum(0)
    if count.min() < MIN_MODELS_PER_GAUSSIAN:
        hint = "train more shadow models, each on a random half of the examples"
        raise DataError(f"{MIN_MODELS_PER_GAUSSIAN} models of each kind beside the judged one", f"{count.min()}", hint)
    mean = np.where(mask, scores, 0.0).sum(0) / count
    std = np.sqrt((np.where(mask, scores - mean, 0.0) ** 2).sum(0) / (count - 1))
    std = np.maximum(std, max(floor * float(np.median(std)), MIN_GAUSSIAN_STD))
    return np.asarray(-0.5 * ((values - mean) / std) ** 2 - np.log(std))


def validate_membership(membership: Any, shape: tuple[int, ...]) -> Booleans:
    """Return who was trained on what, booleans of the form of the scores."""
    array = np.asarray(membership)
    if array.shape != shape or array.dtype != np.bool_:
        actual = f"{array.dtype} of shape {array.shape}"
        raise DataError(f"booleans of shape {shape} for who was trained on what", actual, "one row for each model")
    return array


def validate_groups(groups: Any, models: int) -> npt.NDArray[np.int64]:
    """Return the number of each model's group."""
    if groups is None:
        return np.arange(models)
    array = np.asarray(groups)
    if array.shape != (models,) or not np.issubdtype(array.dtype, np.integer):
        actual = f"{array.dtype} of shape {array.shape}"
        raise DataError(f"one whole number for each of {models} models", actual, "number the groups")
    return array.astype(np.int64)


def likelihood_ratio_attack(
    outputs: Any,
    membership: Any,
    *,
    targets: Any = None,
    groups: Any = None,
    floor: float = STD_FLOOR,
    fprs: Sequence[float] = (0.05, 0.01, 0.001),
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> LikelihoodRatio:
    """Return how well the likelihood-ratio attack tells what a model was trained on, though it has unlearned it.

    Hayes et al., "Inexact Unlearning Needs More Careful Evaluations to Avoid a False Sense of Privacy" (arXiv
    2403.01218), after Carlini et al., "Membership Inference Attacks From First Principles" (arXiv 2112.03570). The
    attacker knows the data, the training and the unlearning, and has an own pair of Gaussians for each example.

    Args:
        outputs: As in ``likelihood_ratios``.
        membership: As in ``likelihood_ratios``.
        targets: As in ``likelihood_ratios``.
        groups: As in ``likelihood_ratios``; models of a group are resampled together too.
        floor: As in ``likelihood_ratios``.
        fprs: False positive rates to state the recall at; one is left out where (pairs outside) · fpr is below 10.
        resamples: Number of bootstrap samples, in each of which groups of models and examples are drawn with
            replacement, apart from each other; the Gaussians stay. It covers rather too much than too little.
        level: Nominal coverage of the intervals.
        seed: Of the resampling.

    Raises:
        DataError: If the forms do not fit, or there are too few models.

    Examples:
        >>> inside = np.array([[1, 0]] * 3 + [[0, 1]] * 3, dtype=bool)
        >>> scores = np.where(inside, 4.0, -4.0) + 0.1 * np.arange(6)[:, None]
        >>> found = likelihood_ratio_attack(scores, inside)
        >>> found.balanced_accuracy, found.auc, found.recalls
        (1.0, 1.0, ())

    Differences from the paper: the models that never saw an example have gone through the unlearning of others, so that
    what is common to all unlearned models gives nothing away; all models share what is retained.
    """
    ratios = likelihood_ratios(outputs, membership, targets=targets, groups=groups, floor=floor)
    is_member, numbers = validate_membership(membership, ratios.shape), validate_groups(groups, len(ratios))
    members, others = ratios[is_member], ratios[~is_member]
    resampled = PairBootstrap(ratios, is_member, numbers, resamples, level, seed)
    available = [fpr for fpr in fprs if has_enough_negatives(len(others), fpr)]
    accuracy, curve, *recall_intervals = resampled.compute_intervals(available)
    recalls = [
        (fpr, tpr_at_fpr(members, others, fpr), one) for fpr, one in zip(available, recall_intervals, strict=True)
    ]
    return LikelihoodRatio(
        float(score_decisions(members).mean() + score_decisions(-others).mean()) / 2,
        accuracy,
        attack_auc(members, others),
        curve,
        tuple(Recall(fpr, tpr, interval) for fpr, tpr, interval in recalls if tpr is not None),
        len(ratios),
        ratios.shape[1],
        len(members),
        len(others),
    )


def score_decisions(ratios: Floats) -> Floats:
    """Return 1 for a positive ratio, 0 for a negative one, a half for one that says nothing."""
    return (np.sign(ratios) + 1) / 2


class PairBootstrap:
    """Bootstrap samples of pairs, drawn as groups of models times examples.

    Args:
        ratios: ``(models, examples)``.
        membership: Who was trained on what.
        groups: Number of each model's group.
        resamples: How many samples.
        level: Nominal coverage.
        seed: Of the draws.
    """

    def __init__(
        self,
        ratios: Floats,
        membership: Booleans,
        groups: npt.NDArray[np.int64],
        resamples: int,
        level: float,
        seed: int,
    ) -> None:
        self.membership, self.resamples, self.level = membership, resamples, level
        self.members, self.others = rank_scores(ratios[membership], ratios[~membership])
        self.width = 1 + int(max(self.members.max(), self.others.max()))
        self.decisions = score_decisions(ratios[membership]), score_decisions(-ratios[~membership])
        self.group_indices = np.unique(groups, return_inverse=True)[1]
        self.generator = np.random.default_rng(seed)

    def compute_intervals(self, fprs: Sequence[float]) -> list[Interval]:
        """Return the intervals of balanced accuracy, area, and recall at each false positive rate."""
        estimates = np.array([self.draw_figures(fprs) for _ in range(self.resamples)])
        low, high = np.quantile(estimates, [(1 - self.level) / 2, (1 + self.level) / 2], axis=0)
        return [self.widen_interval(float(one), float(other)) for one, other in zip(low, high, strict=True)]

    def widen_interval(self, low: float, high: float) -> Interval:
        """Return an interval as it is, or where it has no width the exact one of as many independent pairs."""
        if low < high:
            return Interval(low, high)
        pairs = min(int(self.group_indices.max()) + 1, self.membership.shape[1])
        exact = clopper_pearson(round(low * pairs), pairs, self.level)
        return Interval(min(low, exact.low), max(high, exact.high))

    def draw_figures(self, fprs: Sequence[float]) -> list[float]:
        """Return the figures of one sample."""
        weights = self.draw_weights()
        inside, outside = weights[self.membership], weights[~self.membership]
        accuracy = (np.average(self.decisions[0], weights=inside) + np.average(self.decisions[1], weights=outside)) / 2
        false_rates, true_rates = self.compute_curve(self.others, outside), self.compute_curve(self.members, inside)
        return [
            accuracy,
            *compute_areas(false_rates, true_rates),
            *(float(tpr_at(false_rates, true_rates, fpr)[0]) for fpr in fprs),
        ]

    def draw_weights(self) -> Floats:
        """Return how often each pair was drawn, after a draw in which both kinds occur."""
        while True:
            models = self.draw_counts(self.group_indices.max() + 1)[self.group_indices]
            weights = np.outer(models, self.draw_counts(self.membership.shape[1])).astype(np.float64)
            if weights[self.membership].any() and weights[~self.membership].any():
                return weights

    def draw_counts(self, size: int) -> npt.NDArray[np.int64]:
        """Return how often each of so many things is drawn with replacement."""
        return self.generator.multinomial(size, np.full(size, 1 / size))

    def compute_curve(self, ranks: npt.NDArray[np.int64], weights: Floats) -> Floats:
        """Return the share of the weight at or above every level, from the top level down, after a leading 0."""
        above = np.cumsum(np.bincount(ranks, weights, self.width)[::-1])
        return np.concatenate([[0.0], above / above[-1]])[None]


U_LIRA = MetricBase(
    likelihood_ratio_attack,
    "ulira",
    "U-LiRA",
    "50 %, where nothing is left to find; the models before unlearning show what there was",
    "Share of pairs of a model and an example that a likelihood-ratio attack tells right, members and others weighted "
    "alike: one Gaussian of log p_y − log(1 − p_y) under models that were trained on the example and then unlearned "
    "it, one under models that never saw it, the judged model and its complement left out. It needs many models; "
    "attacks on the scores of one understate what this one finds.",
    unit="%",
    name="u_lira",
    summary="Tell example by example what models were trained on and unlearned from what they never saw (U-LiRA).",
)
