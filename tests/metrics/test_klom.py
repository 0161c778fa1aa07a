import math

import numpy as np
import pytest
from scipy.stats import entropy

from expunge.metrics import klom, margin

RNG = np.random.default_rng(0)


def slow_klom(ours, theirs, bins, floor):
    """One example by numpy's histogram and scipy's relative entropy, which normalizes both."""
    edges = np.linspace(min(*ours, *theirs), max(*ours, *theirs), bins + 1)
    p, q = (np.histogram(side, edges)[0] / len(side) for side in (theirs, ours))
    return entropy(p, np.where(p > 0, np.maximum(q, floor), q))


@pytest.mark.parametrize(("bins", "floor"), [(20, 1e-5), (5, 1e-2)])
def test_klom_is_the_relative_entropy_of_two_histograms(bins, floor):
    ours, theirs = RNG.normal(1.0, 2.0, (30, 25)), RNG.normal(size=(40, 25))
    slow = [slow_klom(list(a), list(b), bins, floor) for a, b in zip(ours.T, theirs.T, strict=True)]
    np.testing.assert_allclose(klom(ours, theirs, bins=bins, floor=floor), slow, rtol=1e-9)


def test_the_same_models_have_none_and_disjoint_ones_as_much_as_the_floor_allows():
    ours = RNG.normal(size=(12, 5))
    assert (klom(ours, ours) == 0).all()
    apart = klom(np.zeros((4, 1)), np.ones((6, 1)), floor=1e-5)[0]
    assert apart == pytest.approx(math.log((1 + 1e-5) / 1e-5))
    assert klom(np.ones((3, 1)), np.ones((4, 1)))[0] == 0.0


def test_the_direction_is_from_retrained_to_unlearned():
    """Unlearned models that cover more than retrained ones cost little, those that cover less cost much."""
    wide, narrow = np.linspace(0, 20, 40)[:, None], np.linspace(0, 1, 40)[:, None]
    assert klom(wide, narrow)[0] < math.log(21) < klom(narrow, wide)[0]


def test_one_wild_margin_does_not_widen_the_bins_beyond_the_clip():
    ours, theirs = RNG.normal(size=(2, 30, 3))
    wild = ours.copy()
    wild[0] = 1e9
    np.testing.assert_allclose(klom(wild, theirs, clip=3.0), klom(np.clip(wild, -3, 3), np.clip(theirs, -3, 3)))


def test_margins_are_the_label_logit_against_all_others():
    logits, labels = RNG.normal(scale=4, size=(20, 5)), RNG.integers(0, 5, 20)
    others = [np.logaddexp.reduce(np.delete(row, label)) for row, label in zip(logits, labels, strict=True)]
    np.testing.assert_allclose(margin(logits, labels), logits[np.arange(20), labels] - others, atol=1e-9)
