import numpy as np
import pytest
from sklearn.svm import SVC

from expunge.errors import ConfigError, DataError
from expunge.metrics import attack_auc, mean_interval, svc_mia, tpr_at_fpr, tpr_interval
from expunge.metrics.attacks.membership import rank_scores
from expunge.metrics.bootstrap import compute_areas, resample_curves, tpr_at

RNG = np.random.default_rng(0)
RETAIN, TEST, FORGET = RNG.beta(6, 1, 300), RNG.beta(3, 1, 120), RNG.beta(4, 1, 50)


def test_svc_is_that_of_scikit_learn_on_the_same_sample():
    members = np.random.default_rng(7).choice(RETAIN, 120, replace=False)
    direct = SVC(C=3, gamma="auto", kernel="rbf")
    direct.fit(np.concatenate([members, TEST]).reshape(-1, 1), np.r_[np.ones(120), np.zeros(120)])
    calls = [direct.predict([[value]])[0] for value in FORGET]
    assert svc_mia(RETAIN, TEST, FORGET, seed=7) == pytest.approx(100 * (1 - np.mean(calls)))


def test_svc_knows_its_two_populations_when_they_are_apart():
    low, high = np.linspace(0.0, 0.2, 40), np.linspace(0.8, 1.0, 40)
    assert svc_mia(high, low, low[:5]) == 100.0
    assert svc_mia(high, low, high[:5]) == 0.0


def test_svc_is_balanced_when_the_test_set_is_larger():
    """Unbalanced, everything overlapping would be called non-member because there are more of those."""
    rng = np.random.default_rng(3)
    few, many = rng.uniform(0.5, 1.0, 30), rng.uniform(0.4, 0.9, 600)
    assert svc_mia(few, many, np.full(10, 0.97)) == 0.0


def test_svc_sample_depends_on_the_seed_alone():
    values = {seed: svc_mia(RETAIN, TEST, FORGET, seed=seed) for seed in range(6)}
    assert values[0] == svc_mia(RETAIN, TEST, FORGET, seed=0)
    assert len(set(values.values())) > 1


def test_auc_counts_pairs():
    pairs = [(a > b) + 0.5 * (a == b) for a in FORGET.round(1) for b in TEST.round(1)]
    assert attack_auc(FORGET.round(1), TEST.round(1)) == pytest.approx(np.mean(pairs))


def test_auc_of_known_cases():
    assert attack_auc(np.ones(5), np.ones(9)) == 0.5
    assert attack_auc([np.inf, 2.0], [1.0, -np.inf]) == 1.0
    assert attack_auc([0.0], [1.0, 2.0]) == 0.0
    many = np.random.default_rng(0).normal(size=(2, 20_000))
    assert attack_auc(*many) == pytest.approx(0.5, abs=0.01)


def test_tpr_is_the_best_threshold_within_the_rate():
    others = np.random.default_rng(1).normal(size=400).round(1)
    members = np.random.default_rng(2).normal(1.0, size=90).round(1)
    every = np.r_[members, others]
    allowed = [t for t in np.unique(every) if np.mean(others >= t) <= 0.05]
    best = max(np.mean(members >= t) for t in allowed)
    assert tpr_at_fpr(members, others, 0.05) == pytest.approx(best)


@pytest.mark.parametrize(("others", "fpr", "stated"), [(1000, 0.01, True), (999, 0.01, False), (10_000, 0.001, True)])
def test_tpr_is_stated_only_where_ten_false_positives_are_expected(others, fpr, stated):
    values = np.linspace(0, 1, others)
    assert (tpr_at_fpr([2.0], values, fpr) is not None) is stated
    assert (tpr_interval([2.0], values, fpr, resamples=5) is not None) is stated


def test_resampled_curves_have_the_area_and_recall_of_scikit_learn():
    """Each curve is taken apart into the scores that it was drawn from, which scikit-learn then judges."""
    inside, outside = rank_scores(FORGET.round(2), TEST.round(2))
    wrong, right = next(resample_curves(inside, outside, 200, np.random.default_rng(0)))
    from_the_top = np.arange(wrong.shape[1] - 1)[::-1]
    for row in range(5):
        drawn_in = np.repeat(from_the_top, np.diff(right[row] * len(inside)).round().astype(int))
        drawn_out = np.repeat(from_the_top, np.diff(wrong[row] * len(outside)).round().astype(int))
        assert (len(drawn_in), len(drawn_out)) == (len(inside), len(outside))
        assert compute_areas(wrong, right)[row] == pytest.approx(attack_auc(drawn_in, drawn_out))
        assert tpr_at(wrong, right, 0.1)[row] == pytest.approx(tpr_at_fpr(drawn_in, drawn_out, 0.1))


def test_the_interval_of_a_recall_has_a_width_even_where_all_are_found():
    """Two of two above the threshold: no resample has fewer, but the exact interval of a share of two of two does."""
    low, high = tpr_interval([9.0, 9.0], np.arange(1000.0) / 1000, 0.01)
    assert (low, high) == pytest.approx((0.025**0.5, 1.0))


def test_the_mean_of_equal_values_of_known_range_has_an_interval_with_a_width():
    assert mean_interval([1.0, 1.0], bounds=(0.0, 1.0)) == pytest.approx((0.025**0.5, 1.0))
    assert mean_interval(np.full(100, 0.5), bounds=(0.0, 1.0)) == pytest.approx((0.482, 0.518), abs=0.001)


def test_a_recall_does_not_depend_on_the_mix_of_classes():
    """Half of the others are of a class without members: weighted, the threshold is that of the members' class."""
    others = np.concatenate([np.linspace(0, 1, 1000), np.full(1000, 5.0)])
    weights = np.repeat([1 / 1000, 0.0], 1000)
    assert tpr_at_fpr([0.995, 0.5], others, 0.01) == 0.0
    assert tpr_at_fpr([0.995, 0.5], others, 0.01, weights=weights) == 0.5
    assert tpr_interval([0.995, 0.5], others, 0.01, weights=weights) is not None


def test_bootstrap_of_tpr_is_about_the_binomial_spread():
    """With far apart non-members the threshold hardly moves, so the recall is a binomial share."""
    members = np.r_[np.full(50, 5.0), np.full(50, -5.0)]
    low, high = tpr_interval(members, np.random.default_rng(0).normal(size=1000), 0.01, resamples=2000)
    assert low == pytest.approx(0.5 - 1.96 * 0.05, abs=0.02)
    assert high == pytest.approx(0.5 + 1.96 * 0.05, abs=0.02)


def test_bad_scores_and_rates_are_refused():
    with pytest.raises(DataError, match="forget set"):
        svc_mia(RETAIN, TEST, [])
    with pytest.raises(DataError, match="NaN"):
        attack_auc([float("nan")], [1.0])
    with pytest.raises(ConfigError, match="between 0 and 1"):
        tpr_at_fpr([1.0], [0.0], 1.0)
