"""How far a model is from having forgotten: recognition, the AUC, the accuracy, and what so few examples tell."""

import numpy as np
import pytest
import torch
from torch import nn

from expunge.batch import Predictor, Split
from expunge.budget import ForgettingCriterion
from expunge.budget.criterion import ACCURACY_TOLERANCE, MARGIN, MAX_RECOGNIZED, find_forgotten_classes
from expunge.data import TensorExamples


def side(right, wrong, label=0, sure=2.0):
    """So many examples that the model is right about, and wrong about; the inputs are its logits."""
    logits = torch.zeros(right + wrong, 3)
    logits[:right, label] = logits[right:, (label + 1) % 3] = sure
    return TensorExamples(logits, [label] * (right + wrong))


def both(*parts):
    return TensorExamples(torch.cat([p.inputs for p in parts]), torch.cat([p.targets for p in parts]))


def looked(forget, retain, holdout, control=None):
    forgetting = ForgettingCriterion(Split(forget, retain, 3, holdout), holdout if control is None else control)
    return forgetting, forgetting(Predictor(nn.Identity()))


def test_single_examples_have_the_accuracy_of_held_out_ones_of_their_classes():
    """Loss and accuracy say the same of these; where the AUC is inside its margin the accuracy still counts."""
    held = both(side(50, 50), side(0, 100, label=1))
    for right in (50, 52, 56, 44):
        _, found = looked(side(right, 100 - right), side(5, 5), held)
        apart = abs(right / 100 - 0.5)
        assert found.shortfall == pytest.approx(max(0.0, apart - ACCURACY_TOLERANCE, abs(found.auc - 0.5) - MARGIN))
        assert found.auc == pytest.approx(0.5 + (right / 100 - 0.5) / 2)
    assert looked(side(52, 48), side(5, 5), held)[1].shortfall == pytest.approx(0.02 - ACCURACY_TOLERANCE)


def test_losses_apart_are_missing_where_the_accuracy_is_the_same():
    _, found = looked(side(100, 0, sure=9.0), side(5, 5), side(100, 0, sure=4.0))
    assert (found.auc, found.shortfall) == (1.0, pytest.approx(0.5 - MARGIN))


def test_the_slack_is_half_a_standard_error_of_a_share_and_none_for_whole_classes():
    for count in (25, 400):
        forgetting, _ = looked(side(count, 0), side(5, 5), side(20, 20))
        draws = np.random.default_rng(0).binomial(count, 0.5, size=20_000) / count
        assert forgetting.slack == pytest.approx(draws.std() / 2, rel=0.03)
    whole, found = looked(side(40, 10), side(5, 5, label=1), both(side(9, 1), side(9, 1, label=1)), side(9, 1, label=1))
    assert whole.slack == 0.0
    assert (found.recognized, found.auc) == (pytest.approx(0.9), None)
    assert found.shortfall == pytest.approx(0.9 - MAX_RECOGNIZED)


def test_the_mix_of_classes_is_not_taken_for_memory():
    """Nine tenths of the forgotten examples are of a hard class; within the classes they are as the held-out ones."""
    hard, easy = side(40, 60, label=1), side(100, 0)
    held = both(easy, hard)
    _, found = looked(both(side(10, 0), side(36, 54, label=1)), both(side(5, 5), side(5, 5, label=1)), held)
    assert found.shortfall == 0.0
    assert found.auc == pytest.approx(0.5)
    assert found.test.gap == pytest.approx(0.0)
    assert found.test.verdict == "undecided"


def test_classes_without_held_out_examples_are_left_out_and_named():
    retained = both(side(5, 5), side(5, 5, label=1))
    _, found = looked(both(side(10, 10), side(10, 10, label=1)), retained, side(50, 50))
    assert (found.test.left_out, found.test.examples) == ((1,), 20)


def test_a_verdict_on_few_examples_is_none_and_one_on_many_is_one():
    held, retained = side(900, 100), side(5, 5)
    assert looked(side(22, 3), retained, held)[1].test.verdict == "undecided"
    assert looked(side(100, 0), retained, side(500, 500))[1].test.verdict == "still distinguishable"
    gone = both(side(300, 0, label=1), side(0, 60, label=0))
    whole = looked(side(0, 60), side(5, 5, label=1), gone, side(300, 0, label=1))[1]
    assert (whole.test.verdict, whole.test.examples) == ("not distinguishable", 120)


@pytest.mark.parametrize(
    ("forget", "retain", "earlier", "whole"),
    [
        ([0, 1, 3], [0, 1], (3,), []),  # a random request that drew rows of a class that is gone
        ([0, 2, 3], [0, 1], (3,), [2]),
        ([3, 3], [0, 1], (3,), [3]),  # the same class again
        ([2, 3], [0, 1], (), [2, 3]),
    ],
)
def test_a_class_that_an_earlier_request_forgot_is_not_judged_as_one_of_this_request(forget, retain, earlier, whole):
    sides = (TensorExamples(torch.zeros(len(labels), 1), labels) for labels in (forget, retain))
    assert find_forgotten_classes(Split(*sides, 4, forgotten_classes=earlier)) == whole
