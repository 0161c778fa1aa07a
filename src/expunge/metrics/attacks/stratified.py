"""Membership within classes: areas and intervals that the mix of classes does not move.

A forgotten example is compared with held-out examples of its own class alone. With V_i the share of these that score
below example i (ties count a half), the area is the mean of V_i over the forgotten examples: the areas of the classes,
weighted by how many examples of each were forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from expunge.errors import DataError
from expunge.metrics.arrays import Floats, Integers, Interval, validate_scores

MIN_DELONG_EXAMPLES = 30
"""Examples on each side from which the normal approximation is used."""
MAX_PERMUTATIONS = 9_999
MAX_SORTED_KEYS = 4_000_000
"""Random keys that are sorted at a time, so that memory stays at some tens of megabytes."""


@dataclass(frozen=True)
class Strata:
    """Scores of forgotten and of held-out examples, class by class.

    Args:
        members: Scores of the forgotten examples of each class that has held-out ones, larger meaning more like a
            member.
        others: Scores of the held-out examples of the same classes.
        left_out: Classes with forgotten examples and no held-out ones.
    """

    members: tuple[Floats, ...]
    others: tuple[Floats, ...]
    left_out: tuple[int, ...] = ()

    @property
    def sizes(self) -> tuple[int, int]:
        """How many forgotten and how many held-out examples are compared."""
        return sum(map(len, self.members)), sum(map(len, self.others))

    @property
    def weights(self) -> Floats:
        """Share of the forgotten examples in each class."""
        return np.array([len(part) for part in self.members]) / self.sizes[0]

    @cached_property
    def placements(self) -> tuple[tuple[Floats, Floats], ...]:
        """By class: the share of held-out examples below each forgotten one, and of forgotten ones above each other."""
        return tuple(map(_placements, self.members, self.others))

    @cached_property
    def auc(self) -> float:
        """Mean of the areas of the classes, weighted by the forgotten examples in each."""
        return float(np.mean(np.concatenate([above for above, _ in self.placements])))

    @cached_property
    def num_pairs(self) -> float:
        """How many independent pairs the area is worth: K = n · min over classes of min(1, m_c / n_c)."""
        ratios = (
            len(class_others) / len(class_members)
            for class_members, class_others in zip(self.members, self.others, strict=True)
        )
        return self.sizes[0] * min(1.0, *ratios)

    @cached_property
    def standard_error(self) -> float:
        """Standard error after DeLong et al. (1988) within classes: √Σ w_c² (var V/n_c + var W/m_c).

        A class with one forgotten example takes the variance over all of them, one with a single held-out example the
        largest that there can be, ¼.
        """
        every = np.concatenate([above for above, _ in self.placements])
        usual = float(every.var(ddof=1)) if len(every) > 1 else 0.25
        total = 0.0
        for weight, (above, below) in zip(self.weights, self.placements, strict=True):
            member_variance = above.var(ddof=1) if len(above) > 1 else usual
            other_variance = below.var(ddof=1) if len(below) > 1 else 0.25
            total += weight**2 * (member_variance / len(above) + other_variance / len(below))
        return float(np.sqrt(total))

    @cached_property
    def null_standard_error(self) -> float:
        """Standard error where both sides are alike and nothing is tied: √Σ w_c² (n_c + m_c + 1)/(12 n_c m_c)."""
        sizes = [
            (len(class_members), len(class_others))
            for class_members, class_others in zip(self.members, self.others, strict=True)
        ]
        each = np.array([(n + m + 1) / (12 * n * m) for n, m in sizes])
        return float(np.sqrt(self.weights**2 @ each))

    @property
    def is_small(self) -> bool:
        """Whether a side has too few examples for the normal approximation."""
        return min(self.sizes) < MIN_DELONG_EXAMPLES

    def interval(self, delta: float) -> Interval:
        """Return an interval that misses the area on either side with probability δ at most.

        From 30 examples on each side it is AUC ± z_{1−δ}·s after DeLong, below that exact for scores of any
        distribution: all θ with K·KL(AUC‖θ) ≤ ln(1/δ), Hoeffding's bound (1963) of a U-statistic in the form of
        Chernoff, of K pairs. Neither is narrower than what K pairs leave open where they are all alike, δ^(1/K): no
        finite sample shows an area of exactly 1.

        Args:
            delta: δ of each side.
        """
        open_share = delta ** (1 / self.num_pairs)
        low, high = self.auc * open_share, 1 - (1 - self.auc) * open_share
        if self.is_small:
            ends = _chernoff(self.auc, self.num_pairs, delta), 1 - _chernoff(1 - self.auc, self.num_pairs, delta)
        else:
            from scipy.stats import norm

            half = float(norm.ppf(1 - delta)) * self.standard_error
            ends = self.auc - half, self.auc + half
        return Interval(max(0.0, min(low, ends[0])), min(1.0, max(high, ends[1])))

    def compute_p_values(self, delta: float, seed: int = 0) -> tuple[float, float]:
        """Return the exact levels of a permutation test within classes, of an area above and of one below one half.

        Under exchangeable examples of each class every choice of the forgotten among all is as likely. Each level is
        (1 + number of draws at least as extreme)/(1 + number of draws), which is valid whatever the number.

        Args:
            delta: Level that is to be reached, which says how many draws are needed.
            seed: Of the draws.
        """
        generator = np.random.default_rng(seed)
        draws = int(min(MAX_PERMUTATIONS, max(999, np.ceil(20 / delta))))
        permuted, observed = np.zeros(draws), 0.0
        for class_members, class_others in zip(self.members, self.others, strict=True):
            ranks = _ranks(np.concatenate([class_members, class_others]))
            observed += ranks[: len(class_members)].sum() / len(class_others)
            permuted += _rank_sums(ranks, len(class_members), draws, generator) / len(class_others)
        # Sums of ranks in another order differ by rounding alone.
        tolerance = 1e-9 * max(1.0, abs(observed))
        above, below = np.sum(permuted >= observed - tolerance), np.sum(permuted <= observed + tolerance)
        return float(1 + above) / (1 + draws), float(1 + below) / (1 + draws)


def build_strata(members: Any, others: Any, member_classes: Any = None, other_classes: Any = None) -> Strata:
    """Return two sides of scores class by class.

    Args:
        members: Scores of the forgotten examples, ``(n,)``, larger meaning more like a member.
        others: Scores of the held-out examples, ``(m,)``.
        member_classes: Class of each forgotten example. Default: all are of one class.
        other_classes: Class of each held-out example. Default: all are of one class.

    Raises:
        DataError: If a side is empty or has a NaN, a class is missing, or no class has both.

    Examples:
        >>> found = build_strata([0.9, 0.2, 0.7], [0.8, 0.1], [0, 1, 2], [0, 1])
        >>> found.auc, found.left_out
        (1.0, (2,))
    """
    sides = validate_scores(members, "members"), validate_scores(others, "non-members")
    classes = _validate_classes(member_classes, sides[0]), _validate_classes(other_classes, sides[1])
    member_labels, other_labels = (set(np.unique(side).tolist()) for side in classes)
    shared = sorted(member_labels & other_labels)
    if not shared:
        raise DataError("held-out examples of the forgotten classes", "none of them", "hold out some of each class")
    members_by, others_by = (
        tuple(scores[labels == label] for label in shared) for scores, labels in zip(sides, classes, strict=True)
    )
    return Strata(members_by, others_by, tuple(sorted(member_labels - other_labels)))


def auc_within_classes(members: Any, others: Any, member_classes: Any, other_classes: Any) -> float:
    """Return the area under the ROC curve within classes, weighted by the forgotten examples in each.

    Pooled over classes, an area measures their mix too: with many forgotten examples of a hard class a model that never
    saw them gets far from one half.

    Args:
        members: Scores of the forgotten examples, ``(n,)``, larger meaning more like a member.
        others: Scores of the held-out examples, ``(m,)``.
        member_classes: Class of each forgotten example.
        other_classes: Class of each held-out example; classes without any are left out.

    Raises:
        DataError: If a side is empty or has a NaN, or no class has both.

    Examples:
        >>> auc_within_classes([0.1, 0.1, 0.9], [0.1, 0.9], [0, 0, 1], [0, 1])
        0.5
    """
    return build_strata(members, others, member_classes, other_classes).auc


def auc_interval(
    members: Any, others: Any, member_classes: Any = None, other_classes: Any = None, *, level: float = 0.95
) -> Interval:
    """Return an interval of the area within classes: DeLong's, and an exact one below 30 examples on a side.

    Args:
        members: Scores of the forgotten examples, ``(n,)``, larger meaning more like a member.
        others: Scores of the held-out examples, ``(m,)``.
        member_classes: Class of each forgotten example. Default: all are of one class.
        other_classes: Class of each held-out example. Default: all are of one class.
        level: Coverage.

    Raises:
        DataError: If a side is empty or has a NaN, or no class has both.

    Examples:
        >>> low, high = auc_interval([0.9, 0.8], [0.1, 0.2])
        >>> round(low, 3), high
        (0.158, 1.0)
    """
    return build_strata(members, others, member_classes, other_classes).interval((1 - level) / 2)


def class_weights(classes: Any, other_classes: Any) -> tuple[Floats, Floats]:
    """Return weights of both sides under which their mix of classes is the same, each adding up to 1.

    Forgotten examples of classes without held-out ones have weight 0, and held-out ones of other classes too.

    Args:
        classes: Class of each forgotten example.
        other_classes: Class of each held-out example.

    Examples:
        >>> inside, outside = class_weights([0, 0, 0, 1], [0, 1, 1, 2])
        >>> inside.tolist(), outside.tolist()
        ([0.25, 0.25, 0.25, 0.25], [0.75, 0.125, 0.125, 0.0])
    """
    forget_classes, held_out_classes = np.asarray(classes), np.asarray(other_classes)
    shared = np.isin(forget_classes, held_out_classes)
    inside, outside = shared / max(1, shared.sum()), np.zeros(len(held_out_classes))
    for label in np.unique(forget_classes[shared]):
        in_class = held_out_classes == label
        outside[in_class] = inside[forget_classes == label].sum() / in_class.sum()
    return inside, outside


def _validate_classes(classes: Any, scores: Floats) -> Integers:
    """Return a class for each score; the same one for all where none are given."""
    if classes is None:
        return np.zeros(len(scores), dtype=np.int64)
    labels = np.asarray(classes).astype(np.int64)
    if labels.shape != scores.shape:
        raise DataError(f"one class for each of {len(scores)} scores", f"{labels.size}", "pass the labels")
    return labels


def _ranks(values: Floats) -> Floats:
    from scipy.stats import rankdata

    ranks: Floats = rankdata(values)
    return ranks


def _placements(members: Floats, others: Floats) -> tuple[Floats, Floats]:
    """Return the share of the others below each member, and of the members above each other, ties counted a half."""
    ranks = _ranks(np.concatenate([members, others]))
    above = (ranks[: len(members)] - _ranks(members)) / len(others)
    return above, 1 - (ranks[len(members) :] - _ranks(others)) / len(members)


def _chernoff(mean: float, count: float, delta: float) -> float:
    """Return the least θ with count·KL(mean‖θ) ≤ ln(1/δ)."""
    from scipy.optimize import brentq
    from scipy.special import rel_entr

    if mean <= 0:
        return 0.0
    if mean >= 1:
        return float(delta ** (1 / count))

    def beyond(theta: float) -> float:
        return float(count * (rel_entr(mean, theta) + rel_entr(1 - mean, 1 - theta)) + np.log(delta))

    return float(brentq(beyond, 1e-300, mean))


def _rank_sums(ranks: Floats, size: int, draws: int, generator: np.random.Generator) -> Floats:
    """Return sums of so many of the ranks, none drawn twice."""
    count = len(ranks)
    small = min(size, count - size)
    if small == 0:
        return np.full(draws, ranks.sum() if size else 0.0)
    rows, sums = max(1, MAX_SORTED_KEYS // count), []
    for start in range(0, draws, rows):
        keys = generator.random((min(rows, draws - start), count))
        chosen = np.argpartition(keys, small - 1, axis=1)[:, :small]
        sums.append(ranks[chosen].sum(axis=1))
    totals = np.concatenate(sums)
    return totals if small == size else ranks.sum() - totals


def effective_size(weights: Sequence[float] | Floats) -> float:
    """Return how many examples of equal weight are worth as much: (Σw)²/Σw².

    Examples:
        >>> effective_size([0.5, 0.5]), effective_size([1.0, 0.0])
        (2.0, 1.0)
    """
    values = np.asarray(weights, dtype=np.float64)
    return float(values.sum() ** 2 / (values**2).sum()) if values.any() else 0.0
