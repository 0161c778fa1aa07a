"""The likelihood-ratio attack: known answers, an independent slow computation, and what it must not see."""

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from expunge.errors import DataError
from expunge.metrics import likelihood_ratio_attack, likelihood_ratios

PAIRS = np.arange(32) // 2


def halves(models=32, examples=60, seed=0):
    """Complementary halves: models 2j and 2j + 1 share no example."""
    rng = np.random.default_rng(seed)
    first = np.stack([rng.permutation(examples) < examples // 2 for _ in range(models // 2)])
    return np.stack([first, ~first], axis=1).reshape(models, examples)


def drawn(shift, inside, seed=1, spread=1.0):
    """Scores whose members lie ``shift`` above, around a level and a spread of each example's own."""
    rng = np.random.default_rng(seed)
    level, wide = rng.normal(0, 5, inside.shape[1]), spread * rng.uniform(0.5, 2, inside.shape[1])
    return level + wide * (rng.normal(size=inside.shape) + shift * inside)


def slow_ratios(scores, inside, groups, floor):
    """Every model and example on its own, with the densities of scipy."""
    found = np.zeros_like(scores)
    for model in range(len(scores)):
        rest = groups != groups[model]
        sides = []
        for kind in (inside, ~inside):
            chosen = [scores[rest & kind[:, place], place] for place in range(scores.shape[1])]
            spread = np.array([np.std(values, ddof=1) for values in chosen])
            spread = np.maximum(spread, floor * np.median(spread))
            sides.append(norm.logpdf(scores[model], [np.mean(values) for values in chosen], spread))
        found[model] = sides[0] - sides[1]
    return found


@pytest.mark.parametrize("groups", [None, PAIRS])
@pytest.mark.parametrize("floor", [0.1, 1.0])
def test_ratios_equal_the_slow_computation(groups, floor):
    inside = halves(examples=13)
    scores = drawn(0.8, inside)
    expected = slow_ratios(scores, inside, np.arange(32) if groups is None else groups, floor)
    np.testing.assert_allclose(likelihood_ratios(scores, inside, groups=groups, floor=floor), expected, atol=1e-9)


def test_figures_equal_those_of_scikit_learn():
    inside = halves()
    scores = drawn(1.0, inside)
    found = likelihood_ratio_attack(scores, inside, groups=PAIRS, fprs=(0.1, 0.01, 0.001), resamples=50)
    ratios = slow_ratios(scores, inside, PAIRS, 0.1)
    truth, flat = inside.ravel(), ratios.ravel()
    assert found.auc == pytest.approx(roc_auc_score(truth, flat))
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(truth, flat > 0))
    (one,) = [recall for recall in found.recalls if recall.fpr == 0.1]
    first_accused = np.sort(flat[~truth])[-1 - int(0.1 * (~truth).sum())]
    assert one.tpr == pytest.approx(np.mean(flat[truth] > first_accused))
    assert (found.models, found.examples, found.members, found.others) == (32, 60, 960, 960)


def test_logits_give_the_logit_scaled_confidence_and_nothing_overflows():
    inside, rng = halves(examples=10), np.random.default_rng(0)
    logits, targets = rng.normal(0, 400, (32, 10, 4)), rng.integers(0, 4, 10)
    own = log_softmax(logits, axis=2)[:, np.arange(10), targets]
    with np.errstate(divide="ignore"):
        naive = own - np.log1p(-np.exp(own))
    exact = np.isfinite(naive) & (own < -1e-6)
    fast = likelihood_ratios(logits, inside, targets=targets, groups=PAIRS)
    assert np.isfinite(fast).all()
    others = np.where(np.arange(4) == targets[:, None], -np.inf, logits)
    top = others.max(2)
    scores = logits[:, np.arange(10), targets] - top - np.log(np.exp(others - top[..., None]).sum(2))
    np.testing.assert_allclose(scores[exact], naive[exact])
    np.testing.assert_allclose(fast, likelihood_ratios(scores, inside, groups=PAIRS), rtol=1e-6, atol=1e-6)


def test_equal_distributions_give_one_half():
    """Over many draws too: leaving out whole pairs, members and others are judged alike."""
    found = []
    for seed in range(40):
        inside = halves(8, 40, seed)
        scores = drawn(0.0, inside, 100 + seed)
        ratios = likelihood_ratios(scores, inside, groups=np.arange(8) // 2)
        found.append((roc_auc_score(inside.ravel(), ratios.ravel()), np.mean((ratios > 0) == inside)))
    auc, right = np.mean(found, axis=0)
    assert auc == pytest.approx(0.5, abs=0.01)
    assert right == pytest.approx(0.5, abs=0.01)


def test_one_model_left_out_alone_would_betray_by_the_number_that_is_left():
    """Why pairs: with few models a member's own Gaussian has one model less, and the attack is below chance."""
    biased = []
    for seed in range(40):
        inside = halves(8, 40, seed)
        ratios = likelihood_ratios(drawn(0.0, inside, 100 + seed), inside)
        biased.append(roc_auc_score(inside.ravel(), ratios.ravel()))
    assert np.mean(biased) < 0.49


def test_disjoint_distributions_give_one():
    inside = halves()
    found = likelihood_ratio_attack(drawn(50.0, inside), inside, groups=PAIRS, resamples=50)
    assert (found.balanced_accuracy, found.auc, [one.tpr for one in found.recalls]) == (1.0, 1.0, [1.0])
    # Sixteen groups of models that are all told right say no more than sixteen coins that all came up heads.
    assert found.interval == found.auc_interval == pytest.approx((0.025 ** (1 / 16), 1.0))


@pytest.mark.parametrize("shift", [0.7, -0.7])
def test_over_and_under_forgetting_are_found_alike_and_beyond_a_common_threshold(shift):
    """Each example has its own level, far wider than the shift: one threshold for all finds almost nothing."""
    inside = halves()
    scores = drawn(shift, inside, spread=0.2)
    found = likelihood_ratio_attack(scores, inside, groups=PAIRS, resamples=20)
    assert found.balanced_accuracy > 0.57
    assert abs(roc_auc_score(inside.ravel(), scores.ravel()) - 0.5) < 0.05


def test_a_difference_in_spread_alone_is_found():
    inside = halves()
    scores = drawn(0.0, inside)
    scores = np.where(inside, 5 * (scores - scores.mean(0)), scores - scores.mean(0))
    assert likelihood_ratio_attack(scores, inside, groups=PAIRS, resamples=20).auc > 0.8


def test_level_and_scale_of_an_example_do_not_matter():
    inside = halves()
    scores = drawn(0.7, inside)
    plain = likelihood_ratios(scores, inside, groups=PAIRS, floor=0.0)
    np.testing.assert_allclose(likelihood_ratios(3 * scores + 7, inside, groups=PAIRS, floor=0.0), plain, atol=1e-9)


def test_the_judged_models_own_scores_and_its_complements_are_not_looked_at():
    inside = halves()
    scores = drawn(0.7, inside)
    changed = scores.copy()
    changed[5] += 100.0
    before, after = (likelihood_ratios(each, inside, groups=PAIRS) for each in (scores, changed))
    np.testing.assert_array_equal(before[4], after[4])
    assert not np.allclose(before[6], after[6])


def test_models_that_all_agree_have_a_density():
    inside = halves(examples=6)
    scores = np.where(inside, 1.0, 0.0)
    found = likelihood_ratio_attack(scores, inside, groups=PAIRS, resamples=10)
    assert (found.auc, found.balanced_accuracy) == (1.0, 1.0)
    same = likelihood_ratio_attack(np.zeros_like(scores), inside, groups=PAIRS, resamples=10)
    assert (same.auc, same.balanced_accuracy) == (0.5, 0.5)


def test_recall_is_stated_where_ten_false_positives_are_expected():
    inside = halves(examples=70)
    found = likelihood_ratio_attack(drawn(1.0, inside), inside, groups=PAIRS, resamples=50)
    assert [recall.fpr for recall in found.recalls] == [0.05, 0.01]
    one = found.recalls[1]
    assert one.interval.low <= one.tpr <= one.interval.high
    assert one.tpr > 0.03


def test_the_interval_covers_what_other_models_and_examples_would_give():
    """95 % intervals of 30 small audits hold the figure of one large audit nearly always."""
    shift, held = 0.6, 0
    large = halves(32, 4000, 99)
    truth = likelihood_ratio_attack(drawn(shift, large, 5), large, groups=PAIRS, resamples=1).auc
    for seed in range(30):
        inside = halves(32, 40, seed)
        found = likelihood_ratio_attack(drawn(shift, inside, 200 + seed), inside, groups=PAIRS, resamples=100)
        held += found.auc_interval.low <= truth <= found.auc_interval.high
    assert held >= 26


def test_the_interval_is_drawn_from_its_seed_and_wider_at_a_higher_level():
    inside = halves()
    scores = drawn(0.7, inside)

    def of(**extra):
        return likelihood_ratio_attack(scores, inside, groups=PAIRS, resamples=100, **extra).interval

    assert of() == of()
    assert of() != of(seed=1)
    assert of(level=0.99).low < of(level=0.8).low < of(level=0.8).high < of(level=0.99).high


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inside": halves()[:, :59]}, "booleans of shape"),
        ({"inside": halves().astype(float)}, "booleans of shape"),
        ({"groups": np.arange(31)}, "one whole number for each of 32 models"),
        ({"groups": np.arange(32) / 2}, "one whole number for each of 32 models"),
        ({"groups": np.zeros(32, int)}, "2 models of each kind beside the judged one, but found 0"),
        ({"inside": np.ones((32, 60), bool)}, "2 models of each kind beside the judged one, but found 0"),
        ({"outputs": np.full((32, 60), np.nan)}, "finite scores"),
    ],
)
def test_refusals(change, message):
    inside = halves()
    given = {"outputs": drawn(0.0, inside), "inside": inside, "groups": PAIRS, **change}
    with pytest.raises(DataError, match=message):
        likelihood_ratio_attack(given.pop("outputs"), given.pop("inside"), **given)
