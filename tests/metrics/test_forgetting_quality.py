import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import norm

from expunge.errors import ConfigError, DataError
from expunge.metrics import attack_epsilons, bin_scores, forgetting_quality, margin

RNG = np.random.default_rng(0)


def slow_epsilon(ours, theirs, delta):
    """One example, attack by attack as the table of the challenge says it."""
    points = sorted({*ours, *theirs})
    cuts = [(a + b) / 2 for a, b in pairwise(points)]
    mine, other = norm(np.mean(ours), np.std(ours)), norm(np.mean(theirs), np.std(theirs))
    attacks = [lambda x, cut=cut: x > cut for cut in cuts] + [lambda x, cut=cut: x < cut for cut in cuts]
    attacks += [lambda x: mine.pdf(x) > other.pdf(x), lambda x: mine.pdf(x) <= other.pdf(x)]
    found = [0.0]
    for attack in attacks:
        false = sum(bool(attack(x)) for x in theirs) / len(theirs)
        missed = sum(not attack(x) for x in ours) / len(ours)
        if false == missed == 0:
            found.append(math.inf)
        elif false > 0 and missed > 0:
            ratios = [(1 - delta - false) / missed, (1 - delta - missed) / false]
            found += [math.log(ratio) for ratio in ratios if ratio > 0]
    return max(found)


@pytest.mark.parametrize(("ours", "theirs", "delta"), [(8, 8, 0.01), (12, 7, 0.0), (5, 5, 0.3)])
def test_epsilon_is_that_of_the_attacks_one_by_one(ours, theirs, delta):
    one, other = RNG.normal(0.7, 1.5, (ours, 40)).round(1), RNG.normal(0.0, 1.0, (theirs, 40)).round(1)
    slow = [slow_epsilon(list(a), list(b), delta) for a, b in zip(one.T, other.T, strict=True)]
    np.testing.assert_allclose(attack_epsilons(one, other, delta=delta), slow, atol=1e-12)


def test_models_that_say_the_same_are_perfectly_forgotten_and_disjoint_ones_not_at_all():
    one = RNG.normal(size=(10, 30))
    assert (attack_epsilons(one, one) == 0).all()
    assert forgetting_quality(one, one).score == 1.0
    far = forgetting_quality(one, one + 100.0)
    assert np.isinf(far.epsilons).all()
    assert far.score == 2.0**-12


def test_an_interval_that_models_fall_into_is_found_by_the_gaussians():
    """Same middle, other spread: no threshold separates them, the two densities cross twice."""
    narrow, wide = np.linspace(-0.01, 0.01, 20)[:, None], np.r_[np.linspace(-9, -8, 10), np.linspace(8, 9, 10)][:, None]
    assert np.isinf(attack_epsilons(narrow, wide))[0]


def test_swapping_the_sides_or_the_sign_changes_nothing():
    one, other = RNG.normal(0.5, 1.0, (9, 20)), RNG.normal(size=(9, 20))
    found = attack_epsilons(one, other)
    np.testing.assert_allclose(attack_epsilons(other, one), found)
    np.testing.assert_allclose(attack_epsilons(-one, -other), found)


def test_attacks_that_err_on_one_side_only_are_discarded():
    """One threshold and the Gaussians accuse nobody wrongly and find one of three: few models would show that often."""
    one, other = np.array([[0.0], [0.0], [1.0]]), np.array([[0.0], [0.0], [0.0]])
    assert attack_epsilons(one, other, delta=0.0)[0] == 0.0


@pytest.mark.parametrize(
    ("epsilon", "score"),
    [(0.0, 1.0), (0.49, 1.0), (0.5, 0.5), (1.2, 0.25), (5.99, 2.0**-11), (6.0, 2.0**-12), (99, 2.0**-12)],
)
def test_bins_are_counted_from_one_and_end_at_thirteen(epsilon, score):
    assert bin_scores([epsilon])[0] == score


def test_retrained_models_do_not_score_one_and_score_more_the_more_there_are():
    """The challenge's own floor: between .2 and .4 for 16 models, above .6 for 512."""
    few, many = (forgetting_quality(*RNG.normal(size=(2, count, 200))).score for count in (16, 512))
    assert 0.2 < few < 0.4
    assert many > 0.6


def test_the_control_is_the_score_in_place_of_the_unlearned_and_ratios_multiply():
    one, other, third = RNG.normal(size=(3, 16, 50)) + np.array([3.0, 0.0, 0.0])[:, None, None]
    found = forgetting_quality(one, other, control=third, ratios=(0.9, 0.5))
    plain = forgetting_quality(one, other)
    assert found.control == forgetting_quality(third, other).score > found.score
    assert found.score == pytest.approx(0.45 * plain.score)
    assert found.interval == pytest.approx([0.45 * end for end in plain.interval])
    assert plain.interval.low <= plain.score <= plain.interval.high
    assert (found.unlearned, found.retrained, found.control_models, plain.control) == (16, 16, 16, None)


def test_resampled_models_would_look_easier_to_tell_apart_than_they_are():
    """Why the interval is over examples: models drawn with replacement score far below the estimate."""
    one, other = RNG.normal(size=(2, 128, 100))
    again = [forgetting_quality(*(side[RNG.integers(0, 128, 128)] for side in (one, other))).score for _ in range(5)]
    found = forgetting_quality(one, other)
    assert max(again) < found.interval.low


def test_logits_are_read_by_their_margin():
    logits, targets = RNG.normal(size=(2, 6, 10, 4)), RNG.integers(0, 4, 10)
    margins = [np.stack([margin(rows, targets) for rows in side]) for side in logits]
    direct = attack_epsilons(*logits, targets=targets)
    np.testing.assert_allclose(direct, attack_epsilons(*margins))


def test_what_does_not_fit_is_refused():
    one = np.zeros((3, 4))
    with pytest.raises(ConfigError, match="delta"):
        attack_epsilons(one, one, delta=1.0)
    with pytest.raises(DataError, match="same examples"):
        attack_epsilons(one, one[:, :3])
    with pytest.raises(DataError, match="at least two models"):
        attack_epsilons(one, one[:1])
    with pytest.raises(DataError, match="labels"):
        attack_epsilons(np.zeros((3, 4, 2)), one)
    with pytest.raises(DataError, match="finite"):
        attack_epsilons(one + np.inf, one)
