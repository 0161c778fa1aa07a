"""Areas and intervals within classes, against loops over pairs and against simulation."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import norm

from expunge.errors import DataError
from expunge.metrics import attack_auc, auc_interval, auc_within_classes, build_strata, class_weights
from expunge.metrics.attacks.stratified import Strata


def drawn(sizes, shift=0.0, seed=0, decimals=None):
    """Normal scores of classes that lie far apart, members ahead by a shift."""
    rng = np.random.default_rng(seed)
    sides = ([], []), ([], [])
    for label, pair in enumerate(sizes):
        for (values, labels), size, ahead in zip(sides, pair, (shift, 0.0), strict=True):
            values.append(rng.normal(5.0 * label + ahead, size=size))
            labels.append(np.full(size, label))
    (members, classes), (others, other_classes) = ([np.concatenate(part) for part in side] for side in sides)
    if decimals is not None:
        members, others = members.round(decimals), others.round(decimals)
    return members, others, classes, other_classes


def by_pairs(members, others, classes, other_classes):
    """The same area, a pair at a time."""
    total = 0.0
    for score, label in zip(members, classes, strict=True):
        rivals = [other for other, there in zip(others, other_classes, strict=True) if there == label]
        total += sum((score > other) + 0.5 * (score == other) for other in rivals) / len(rivals)
    return total / len(members)


def slow_spread(members, others, classes, other_classes):
    """DeLong's standard error within classes, with loops."""
    total = 0.0
    for label in np.unique(classes):
        here, there = members[classes == label], others[other_classes == label]
        wins = np.array([[(a > b) + 0.5 * (a == b) for b in there] for a in here])
        part = wins.mean(1).var(ddof=1) / len(here) + wins.mean(0).var(ddof=1) / len(there)
        total += (len(here) / len(members)) ** 2 * part
    return np.sqrt(total)


@pytest.mark.parametrize("decimals", [None, 0])
def test_the_area_and_its_spread_are_those_of_loops_over_pairs(decimals):
    data = drawn([(7, 12), (3, 40), (20, 5)], 0.6, decimals=decimals)
    assert auc_within_classes(*data) == pytest.approx(by_pairs(*data), abs=1e-12)
    assert build_strata(*data).standard_error == pytest.approx(slow_spread(*data), abs=1e-12)


def test_the_mix_of_classes_does_not_move_the_area():
    """Most forgotten examples are of the class with the lower scores; pooled, that alone gives them away."""
    data = drawn([(190, 100), (10, 100)], seed=3)
    assert attack_auc(*data[:2]) < 0.35
    assert auc_within_classes(*data) == pytest.approx(0.5, abs=0.05)
    low, high = auc_interval(*data)
    assert low < 0.5 < high


def test_classes_without_held_out_examples_are_named_and_left_out():
    members, others, classes, other_classes = drawn([(4, 9), (3, 9), (2, 9)])
    keep = other_classes != 1
    found = build_strata(members, others[keep], classes, other_classes[keep])
    assert found.left_out == (1,)
    rest = classes != 1
    assert found.auc == auc_within_classes(members[rest], others[keep], classes[rest], other_classes[keep])
    with pytest.raises(DataError, match="none of them"):
        build_strata([1.0], [2.0], [0], [1])
    with pytest.raises(DataError, match="one class for each of 2"):
        build_strata([1.0, 2.0], [2.0], [0], [0])


@pytest.mark.parametrize("count", [1, 2, 3, 5, 20, 29, 30, 100])
def test_no_finite_sample_shows_an_area_of_exactly_one_or_zero(count):
    """That all of K pairs are told right has probability θ^K, so the interval reaches down to δ^(1/K)."""
    above, below = np.arange(count) + 1.0, -np.arange(count) - 1.0
    assert auc_interval(above, below) == pytest.approx((0.025 ** (1 / count), 1.0))
    assert auc_interval(below, above) == pytest.approx((0.0, 1 - 0.025 ** (1 / count)))
    low, high = auc_interval(np.zeros(count), np.zeros(count))
    assert low < 0.5 < high


@pytest.mark.parametrize(
    ("sizes", "least"),
    [([(3, 20), (5, 10), (10, 30)], 0.95), ([(1, 20)] * 8, 0.95), ([(20, 40), (15, 60)], 0.89), ([(5, 10)] * 8, 0.89)],
    ids=["few", "one of each", "many", "many classes"],
)
@pytest.mark.parametrize("shift", [0.0, 0.6, 2.5])
def test_intervals_cover_the_true_area_as_often_as_they_say(sizes, least, shift):
    """The exact ones below 30 examples always at least so, DeLong's about so: 120 draws have a deviation of .02."""
    truth = norm.cdf(shift / np.sqrt(2))
    found = [auc_interval(*drawn(sizes, shift, seed)) for seed in range(120)]
    assert np.mean([low <= truth <= high for low, high in found]) >= least


def test_an_exact_interval_covers_where_every_example_is_all_or_nothing():
    """Others at 0, members at ±1 with θ = .7: the distribution that leaves the most open."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        low, high = auc_interval(np.where(rng.random(8) < 0.7, 1.0, -1.0), np.zeros(8))
        hits += low <= 0.7 <= high
    assert hits / 400 >= 0.95


def test_the_permutation_test_is_that_of_all_choices():
    members, others, classes, other_classes = drawn([(2, 3), (2, 4)], 1.0, seed=5)
    parts = [(members[classes == c], others[other_classes == c]) for c in (0, 1)]
    observed = by_pairs(members, others, classes, other_classes)
    first, second = (
        [
            (pool[list(chosen)], np.delete(pool, chosen))
            for pool in [np.concatenate(part)]
            for chosen in combinations(range(len(pool)), 2)
        ]
        for part in parts
    )
    areas = np.array([(attack_auc(*one) + attack_auc(*other)) / 2 for one in first for other in second])
    above, below = Strata(tuple(p[0] for p in parts), tuple(p[1] for p in parts)).compute_p_values(0.001)
    assert above == pytest.approx(np.mean(areas >= observed - 1e-9), abs=0.02)
    assert below == pytest.approx(np.mean(areas <= observed + 1e-9), abs=0.02)


def test_the_permutation_test_keeps_its_level():
    levels = [build_strata(*drawn([(6, 30), (4, 10)], seed=seed)).compute_p_values(0.05)[0] for seed in range(200)]
    assert 0.01 < np.mean(np.array(levels) <= 0.05) < 0.09


def test_weights_give_both_sides_the_same_mix_of_classes():
    classes, others = np.array([0, 0, 0, 1, 3]), np.array([0, 1, 1, 2])
    inside, outside = class_weights(classes, others)
    assert inside.sum() == outside.sum() == 1.0
    for label in (0, 1, 2, 3):
        shared = label in (0, 1)
        assert inside[classes == label].sum() == pytest.approx(outside[others == label].sum() if shared else 0.0)
