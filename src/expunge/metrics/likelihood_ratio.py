"""The likelihood-ratio attack on unlearning, example by example, from the scores of many shadow models (U-LiRA)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.errors import DataError
from expunge.metrics.arrays import Floats
from expunge.metrics.bootstrap import Recall, area, found_at
from expunge.metrics.ensembles import model_scores
from expunge.metrics.interval import Interval
from expunge.metrics.membership import attack_auc, enough, levels, tpr_at_fpr
from expunge.metrics.proportion import clopper_pearson

Booleans = npt.NDArray[np.bool_]
FLOOR = 0.1
"""Share of the median standard deviation over examples that none falls below."""
NARROWEST = 1e-6
"""Least standard deviation, so that models that all agree have a density."""
FEWEST = 2
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
    outputs: Any, inside: Any, *, targets: Any = None, groups: Any = None, floor: float = FLOOR
) -> Floats:
    """Return log N(s; in) − log N(s; out) of every model's score s of every example, ``(models, examples)``.

    For each example, one Gaussian is fitted to the scores of the models that were trained on it (and have unlearned it,
    if unlearning is judged) and one to those of the models that never saw it. The model that is judged, and every other
    one of its group, is left out of both.

    Args:
        outputs: Scores ``(models, examples)``, or logits ``(models, examples, classes)``, of which the logit-scaled
            confidence log p_y − log(1 − p_y) is taken.
        inside: Which model was trained on which example, booleans ``(models, examples)``.
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
    known, numbers = as_inside(inside, scores.shape), as_groups(groups, len(scores))
    found = np.empty_like(scores)
    for number in np.unique(numbers):
        judged = numbers == number
        others, kind = scores[~judged], known[~judged]
        member, stranger = (log_density(scores[judged], others, of, floor) for of in (kind, ~kind))
        found[judged] = member - stranger
    return found


def log_density(values: Floats, scores: Floats, chosen: Booleans, floor: float) -> Floats:
    """Return the logarithm of each value's density, without its constant, under its example's Gaussian.

    Args:
        values: ``(judged, examples)``.
        scores: What the Gaussians are fitted to, ``(models, examples)``.
        chosen: Which of them.
        floor: As in ``likelihood_ratios``.

    Raises:
        DataError: If fewer than two are chosen for an example.
    """
    count = chosen.sum(0)
    if count.min() < FEWEST:
        cure = "train more shadow models, each on a random half of the examples"
        raise DataError(f"{FEWEST} models of each kind beside the judged one", f"{count.min()}", cure)
    mean = np.where(chosen, scores, 0.0).sum(0) / count
    spread = np.sqrt((np.where(chosen, scores - mean, 0.0) ** 2).sum(0) / (count - 1))
    spread = np.maximum(spread, max(floor * float(np.median(spread)), NARROWEST))
    return np.asarray(-0.5 * ((values - mean) / spread) ** 2 - np.log(spread))


def as_inside(inside: Any, shape: tuple[int, ...]) -> Booleans:
    """Return who was trained on what, booleans of the form of the scores.

    Raises:
        DataError: If the form is another one, or they are no booleans.
    """
    array = np.asarray(inside)
    if array.shape != shape or array.dtype != np.bool_:
        found = f"{array.dtype} of shape {array.shape}"
        raise DataError(f"booleans of shape {shape} for who was trained on what", found, "one row for each model")
    return array


def as_groups(groups: Any, models: int) -> npt.NDArray[np.int64]:
    """Return the number of each model's group.

    Raises:
        DataError: If there is not one for each model.
    """
    if groups is None:
        return np.arange(models)
    array = np.asarray(groups)
    if array.shape != (models,) or not np.issubdtype(array.dtype, np.integer):
        found = f"{array.dtype} of shape {array.shape}"
        raise DataError(f"one whole number for each of {models} models", found, "number the groups")
    return array.astype(np.int64)


def likelihood_ratio_attack(
    outputs: Any,
    inside: Any,
    *,
    targets: Any = None,
    groups: Any = None,
    floor: float = FLOOR,
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
        inside: As in ``likelihood_ratios``.
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
    ratios = likelihood_ratios(outputs, inside, targets=targets, groups=groups, floor=floor)
    known, numbers = as_inside(inside, ratios.shape), as_groups(groups, len(ratios))
    members, others = ratios[known], ratios[~known]
    drawn = Resampled(ratios, known, numbers, resamples, level, seed)
    stated = [fpr for fpr in fprs if enough(len(others), fpr)]
    accuracy, curve, *found = drawn.intervals(stated)
    recalls = [(fpr, tpr_at_fpr(members, others, fpr), one) for fpr, one in zip(stated, found, strict=True)]
    return LikelihoodRatio(
        float(told_right(members).mean() + told_right(-others).mean()) / 2,
        accuracy,
        attack_auc(members, others),
        curve,
        tuple(Recall(fpr, tpr, interval) for fpr, tpr, interval in recalls if tpr is not None),
        len(ratios),
        ratios.shape[1],
        len(members),
        len(others),
    )


def told_right(ratios: Floats) -> Floats:
    """Return 1 for a positive ratio, 0 for a negative one, a half for one that says nothing."""
    return (np.sign(ratios) + 1) / 2


class Resampled:
    """Bootstrap samples of pairs, drawn as groups of models times examples.

    Args:
        ratios: ``(models, examples)``.
        inside: Who was trained on what.
        groups: Number of each model's group.
        resamples: How many samples.
        level: Nominal coverage.
        seed: Of the draws.
    """

    def __init__(
        self, ratios: Floats, inside: Booleans, groups: npt.NDArray[np.int64], resamples: int, level: float, seed: int
    ) -> None:
        self.inside, self.resamples, self.level = inside, resamples, level
        self.members, self.others = levels(ratios[inside], ratios[~inside])
        self.width = 1 + int(max(self.members.max(), self.others.max()))
        self.right = told_right(ratios[inside]), told_right(-ratios[~inside])
        self.places = np.unique(groups, return_inverse=True)[1]
        self.generator = np.random.default_rng(seed)

    def intervals(self, fprs: Sequence[float]) -> list[Interval]:
        """Return the intervals of balanced accuracy, area, and recall at each false positive rate."""
        drawn = np.array([self.figures(fprs) for _ in range(self.resamples)])
        low, high = np.quantile(drawn, [(1 - self.level) / 2, (1 + self.level) / 2], axis=0)
        return [self.widened(float(one), float(other)) for one, other in zip(low, high, strict=True)]

    def widened(self, low: float, high: float) -> Interval:
        """Return an interval as it is, or where it has no width the exact one of as many independent pairs."""
        if low < high:
            return Interval(low, high)
        pairs = min(int(self.places.max()) + 1, self.inside.shape[1])
        exact = clopper_pearson(round(low * pairs), pairs, self.level)
        return Interval(min(low, exact.low), max(high, exact.high))

    def figures(self, fprs: Sequence[float]) -> list[float]:
        """Return the figures of one sample."""
        weights = self.weights()
        inside, outside = weights[self.inside], weights[~self.inside]
        accuracy = (np.average(self.right[0], weights=inside) + np.average(self.right[1], weights=outside)) / 2
        wrong, right = self.curve(self.others, outside), self.curve(self.members, inside)
        return [accuracy, *area(wrong, right), *(float(found_at(wrong, right, fpr)[0]) for fpr in fprs)]

    def weights(self) -> Floats:
        """Return how often each pair was drawn, after a draw in which both kinds occur."""
        while True:
            models = self.counts(self.places.max() + 1)[self.places]
            found = np.outer(models, self.counts(self.inside.shape[1])).astype(np.float64)
            if found[self.inside].any() and found[~self.inside].any():
                return found

    def counts(self, size: int) -> npt.NDArray[np.int64]:
        """Return how often each of so many things is drawn with replacement."""
        return self.generator.multinomial(size, np.full(size, 1 / size))

    def curve(self, ranks: npt.NDArray[np.int64], weights: Floats) -> Floats:
        """Return the share of the weight at or above every level, from the top level down, after a leading 0."""
        above = np.cumsum(np.bincount(ranks, weights, self.width)[::-1])
        return np.concatenate([[0.0], above / above[-1]])[None]
