import math
from fractions import Fraction

import numpy as np
import pytest

from expunge.metrics import compute_modified_entropy, confidence, entropy, loss
from expunge.metrics.scores import log_probabilities

LOGITS = np.random.default_rng(0).normal(scale=3.0, size=(60, 5))
TARGETS = np.random.default_rng(1).integers(0, 5, 60)


def probabilities(row):
    powers = [math.exp(value - max(row)) for value in row]
    return [power / sum(powers) for power in powers]


def slow_modified_entropy(row, label):
    """Song and Mittal's formula, example by example and class by class."""
    p = probabilities(row)
    total = -(1 - p[label]) * math.log(p[label])
    for index, value in enumerate(p):
        if index != label:
            total -= value * math.log(1 - value)
    return total


def test_modified_entropy_is_the_formula_sample_by_sample():
    slow = [slow_modified_entropy(row, label) for row, label in zip(LOGITS, TARGETS, strict=True)]
    np.testing.assert_allclose(compute_modified_entropy(LOGITS, TARGETS), slow, rtol=1e-9)


def as_public_code_writes_it(p, labels, log_reverse, rows):
    """The released function, with its two defects as arguments: what stands for log(1 − p), and which rows are set."""
    probability, logarithm = p.copy(), log_reverse.copy()
    probability[rows, labels], logarithm[rows, labels] = (1 - p)[rows, labels], np.log(p)[rows, labels]
    return -(probability * logarithm).sum(1)


def test_modified_entropy_has_neither_defect_of_public_code():
    p, all_rows, each_row = np.array([probabilities(row) for row in LOGITS]), slice(None), np.arange(60)
    ours, log_reverse = compute_modified_entropy(LOGITS, TARGETS), np.log1p(-p)
    np.testing.assert_allclose(as_public_code_writes_it(p, TARGETS, log_reverse, each_row), ours, rtol=1e-9)
    assert np.abs(as_public_code_writes_it(p, TARGETS, np.log(p), each_row) - ours).min() > 1e-4
    assert np.abs(as_public_code_writes_it(p, TARGETS, log_reverse, all_rows) - ours).min() > 1e-4


def test_an_example_scores_the_same_in_any_company():
    alone = [compute_modified_entropy(LOGITS[row : row + 1], TARGETS[row : row + 1])[0] for row in range(60)]
    np.testing.assert_array_equal(compute_modified_entropy(LOGITS, TARGETS), alone)


def test_modified_entropy_falls_as_the_true_label_gains_where_entropy_is_blind():
    ramp = np.array([[gain, 0.0, 0.0] for gain in np.linspace(-30, 30, 61)])
    labels = np.zeros(61, dtype=int)
    assert (np.diff(compute_modified_entropy(ramp, labels)) < 0).all()
    assert entropy([[30.0, 0.0]])[0] == pytest.approx(entropy([[-30.0, 0.0]])[0], rel=1e-12)


@pytest.mark.parametrize("gap", [1e-3, 1.0, 20.0, 40.0, 300.0, 740.0])
def test_scores_stay_exact_when_a_probability_is_nearly_0_or_1(gap):
    """Two classes have closed forms; at a gap of 40 a plain 1 − p is already 0."""
    logits = np.array([[gap, 0.0], [gap, 0.0]])
    minor = 1 / (1 + math.exp(gap)) if gap < 700 else math.exp(-gap)
    tail = math.log1p(math.exp(-gap))
    np.testing.assert_allclose(loss(logits, [0, 1]), [tail, gap + tail], rtol=1e-14)
    np.testing.assert_allclose(entropy(logits)[0], minor * (gap + tail) + (1 - minor) * tail, rtol=1e-12)
    expected = [2 * minor * tail, 2 * (1 - minor) * (gap + tail)]
    np.testing.assert_allclose(compute_modified_entropy(logits, [0, 1]), expected, rtol=1e-12)


def test_probability_and_its_complement_add_up_in_exact_arithmetic():
    log_p, log_q = log_probabilities([[0.0, -1.0, -2.0], [5.0, 5.0, 4.0]])
    for p, q in zip(np.exp(log_p).ravel(), np.exp(log_q).ravel(), strict=True):
        assert abs(Fraction(p) + Fraction(q) - 1) < Fraction(1, 10**15)


def test_a_class_that_is_excluded_adds_nothing():
    masked, without = [[1.0, 2.0, -np.inf]], [[1.0, 2.0]]
    assert entropy(masked) == pytest.approx(entropy(without))
    assert compute_modified_entropy(masked, [0]) == pytest.approx(compute_modified_entropy(without, [0]))
    assert confidence(masked, [2])[0] == 0.0
    assert loss(masked, [2])[0] == np.inf


def test_shifting_all_logits_changes_nothing():
    moved = LOGITS + 1000.0
    np.testing.assert_allclose(
        compute_modified_entropy(moved, TARGETS), compute_modified_entropy(LOGITS, TARGETS), rtol=1e-9
    )
    np.testing.assert_allclose(confidence(moved, TARGETS), confidence(LOGITS, TARGETS), rtol=1e-9)
