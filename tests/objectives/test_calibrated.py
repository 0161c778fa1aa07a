"""Calibration of votes, against a loop over examples, and features of several layers from one pass."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st
from torch import nn

from expunge.batch import Predictor, Split
from expunge.data import TensorExamples
from expunge.errors import ModelError
from expunge.objectives import NeighborLabel
from expunge.objectives.calibration import MIN_HOLDOUT_EXAMPLES, calibrate_votes
from expunge.objectives.layers import all_features, features

CLASSES = 4


def examples(labels, generator):
    """Logits of their own, which the model hands on."""
    return TensorExamples(torch.randn(len(labels), CLASSES, generator=generator), labels)


def problem(seed, forgotten, held, retained=(0, 1, 2, 3)):
    """Votes on forgotten examples, and a request; so many forgotten and held-out examples of each class."""
    generator = torch.Generator().manual_seed(seed)
    mine = [label for label, count in enumerate(forgotten) for _ in range(count)]
    theirs = [label for label, count in enumerate(held) for _ in range(count)]
    data = Split(
        *(examples(labels, generator) for labels in (mine, list(retained))), CLASSES, examples(theirs, generator)
    )
    said = torch.rand(len(mine), CLASSES, generator=generator)
    return said / said.sum(1, keepdim=True), data


def certainty(side):
    """The probability of each example's own label."""
    exponents = np.exp(side.inputs.double().numpy())
    return (exponents / exponents.sum(1, keepdims=True))[np.arange(len(side)), side.targets.numpy()]


def slow(votes, data):
    """Class by class and example by example; no two votes are equal."""
    votes, labels, known = votes.double().numpy(), data.forget.targets.numpy(), data.holdout.targets.numpy()
    sure, found = certainty(data.holdout), votes.copy()
    for row, label in enumerate(labels):
        if label not in data.retain.targets.tolist():
            continue
        theirs = np.sort(sure[known == label] if (known == label).sum() >= MIN_HOLDOUT_EXAMPLES else sure)
        mine = [votes[other, label] for other in np.flatnonzero(labels == label)]
        place = (sum(vote < votes[row, label] for vote in mine) + 0.5) / len(mine) * (len(theirs) - 1)
        below = int(place)
        above = min(below + 1, len(theirs) - 1)
        level = theirs[below] + (place - below) * (theirs[above] - theirs[below])
        rest = 1 - votes[row, label]
        found[row] = votes[row] / rest * (1 - level)
        found[row, label] = level
    return found


counts = st.lists(st.integers(0, 25), min_size=CLASSES, max_size=CLASSES)


@trying(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), counts, counts, st.sets(st.integers(0, 3), min_size=1))
def test_the_table_is_that_of_a_slow_loop(seed, forgotten, held, retained):
    forgotten, held = [max(1, forgotten[0]), *forgotten[1:]], [max(1, held[0]), *held[1:]]
    votes, data = problem(seed, forgotten, held, sorted(retained))
    found = calibrate_votes(votes, Predictor(nn.Identity()), data)
    np.testing.assert_allclose(found.numpy(), slow(votes, data), atol=2e-6)
    np.testing.assert_allclose(found.sum(1).numpy(), 1.0, atol=1e-6)
    assert (found >= 0).all()


def test_true_labels_are_as_sure_as_held_out_ones_class_by_class_in_the_order_of_the_votes():
    votes, data = problem(0, (300, 200, 100, 50), (400, 300, 200, 100))
    found, sure = calibrate_votes(votes, Predictor(nn.Identity()), data), certainty(data.holdout)
    for label in range(CLASSES):
        mine = data.forget.targets == label
        levels = found[mine, label].numpy()
        theirs = sure[data.holdout.targets.numpy() == label]
        for share in (0.1, 0.25, 0.5, 0.75, 0.9):
            assert np.quantile(levels, share) == pytest.approx(np.quantile(theirs, share), abs=0.02)
        assert levels.mean() == pytest.approx(theirs.mean(), abs=0.01)
        assert (np.diff(levels[votes[mine, label].argsort().numpy()]) >= 0).all()


def test_a_class_of_which_nothing_is_retained_stays_to_the_bit_what_was_voted():
    votes, data = problem(1, (20, 20, 20, 20), (30, 30, 30, 30), retained=(0, 2))
    found = calibrate_votes(votes, Predictor(nn.Identity()), data)
    gone = torch.isin(data.forget.targets, torch.tensor([1, 3]))
    torch.testing.assert_close(found[gone], votes[gone])
    assert not torch.isclose(found[~gone], votes[~gone]).all(1).any()


@pytest.mark.parametrize(("count", "own"), [(MIN_HOLDOUT_EXAMPLES - 1, False), (MIN_HOLDOUT_EXAMPLES, True)])
def test_too_few_held_out_examples_of_a_class_let_those_of_all_classes_serve(count, own):
    votes, data = problem(2, (1, 0, 0, 0), (count, 40, 40, 40))
    level = float(calibrate_votes(votes, Predictor(nn.Identity()), data)[0, 0])
    sure = certainty(data.holdout)
    expected = np.median(sure[:count]), np.median(sure)
    assert abs(expected[0] - expected[1]) > 0.01
    assert level == pytest.approx(expected[0 if own else 1], abs=1e-6)


def test_the_original_decides_where_votes_are_equal_and_where_nobody_voted_for_another_label():
    _, data = problem(3, (12, 0, 0, 0), (30, 30, 30, 30))
    votes = torch.zeros(12, CLASSES)
    votes[:, 0] = 1.0
    found = calibrate_votes(votes, Predictor(nn.Identity()), data)
    said = torch.softmax(data.forget.inputs, 1)
    assert (np.diff(found[said[:, 0].argsort(), 0].numpy()) > 0).all()
    rest = said[:, 1:] / said[:, 1:].sum(1, keepdim=True)
    torch.testing.assert_close(found[:, 1:] / found[:, 1:].sum(1, keepdim=True), rest, rtol=1e-4, atol=1e-4)


def test_without_held_out_examples_or_without_calibration_votes_stay_as_they_are():
    votes, data = problem(4, (9, 9, 9, 9), (30, 30, 30, 30))
    bare = Split(data.forget, data.retain, CLASSES)
    assert calibrate_votes(votes, Predictor(nn.Identity()), bare) is votes
    data = Split(data.forget, data.holdout, CLASSES, data.holdout)
    plain, sure = (NeighborLabel("", 5, 0.1, calibrate=calibrate) for calibrate in (False, True))
    model = Predictor(nn.Identity())
    for objective in (plain, sure):
        objective.prepare(model, data)
    torch.testing.assert_close(calibrate_votes(plain.target_probs, model, data), sure.target_probs)
    assert not torch.equal(plain.target_probs, sure.target_probs)


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flat = nn.Sequential(nn.Flatten(), nn.Linear(6 * 16, 8), nn.ReLU(), nn.Linear(8, 3))
        return nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), flat).eval()


def test_features_of_several_layers_are_those_of_each_from_a_single_pass(monkeypatch):
    data = TensorExamples(torch.rand(25, 1, 6, 6, generator=torch.Generator().manual_seed(1)), [0] * 25)
    model, layers, calls = network(), ["", "0", "1", "2", "2.1"], []
    monkeypatch.setattr("expunge.objectives.layers.BATCH_SIZE", 10)
    positions = torch.tensor([20, 3, 7, 7, 0, 24, 11, 13, 2, 5, 9, 1])
    model.register_forward_hook(lambda *_: calls.append(1))
    found = all_features(Predictor(model), data, layers, positions)
    assert len(calls) == 2
    assert list(found) == layers
    for layer in layers:
        assert torch.equal(found[layer], features(Predictor(model), data, layer, positions)), layer
    assert found["0"].shape == (12, 24)
    torch.testing.assert_close(found["2.1"], model[2][1](model[:2](data.inputs[positions]).flatten(1)))
    with pytest.raises(ModelError, match="the name of a layer"):
        all_features(Predictor(model), data, ["0", "third"])
