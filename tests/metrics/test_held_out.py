"""The three verdicts on forgotten against held-out examples: when each is given, and how many would decide."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from expunge.errors import ConfigError
from expunge.metrics import HeldOutTest, combine_tests, run_class_test, run_held_out_test, run_recognition_test


def compared(count, others, shift=0.0, right=(0.9, 0.9), classes=2, seed=0):
    """The test of normal scores, the forgotten ones ahead by a shift, with so many right on either side."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count), rng.integers(0, classes, others)
    scores = rng.normal(shift, size=count), rng.normal(size=others)
    flags = tuple(rng.random(size) < share for size, share in zip((count, others), right, strict=True))
    return run_held_out_test(scores, flags, labels)


@pytest.mark.parametrize(
    ("given", "verdict", "reasons"),
    [
        ((3000, 3000), "not distinguishable", ("auc", "accuracy")),
        ((3000, 3000, 0.5), "still distinguishable", ("auc",)),
        ((3000, 3000, -0.5), "still distinguishable", ("auc",)),
        ((3000, 3000, 0.0, (0.98, 0.88)), "still distinguishable", ("accuracy",)),
        ((25, 200, 2.0), "still distinguishable", ("auc",)),
        ((25, 200, 0.0, (1.0, 0.5)), "still distinguishable", ("accuracy",)),
        ((25, 200), "undecided", ("auc", "accuracy")),
        ((25, 200, -0.2), "undecided", ("auc", "accuracy")),
        ((2000, 25), "undecided", ("auc", "accuracy")),
    ],
)
def test_equivalence_difference_or_neither_is_shown(given, verdict, reasons):
    found = compared(*given)
    assert (found.verdict, found.reasons) == (verdict, reasons)
    assert (found.needed is None) == (verdict != "undecided")
    assert (found.examples, found.held_out) == given[:2]
    assert found.auc_low < found.auc < found.auc_high
    assert found.gap_low < found.gap < found.gap_high


def test_only_the_figure_that_failed_is_named():
    """The AUC is inside its band; it is the accuracies that are apart."""
    sentence = compared(3000, 3000, 0.0, (0.98, 0.88)).sentence
    assert sentence.startswith("The forgotten examples are still distinguishable from held-out data: accuracy +9.")
    assert "AUC" not in sentence
    assert "accuracy" not in compared(3000, 3000, 0.5).sentence


def test_few_examples_say_how_many_would_decide():
    found = compared(25, 200)
    assert "cannot be decided with 25 examples; about" in found.sentence
    assert f"about {found.needed:,} would be needed at this spread" in found.sentence
    assert found.needed > 100


@pytest.mark.parametrize("given", [(200, 400), (60, 120), (400, 400)])
def test_as_many_as_would_be_needed_decide_mostly(given):
    """The number is an estimate of a draw; most draws of the size that five of them name are decided."""
    decided = []
    for first in (compared(*given, seed=seed) for seed in range(1, 6)):
        assert first.verdict == "undecided"
        count = first.needed
        others = range(100, 108)
        decided += [compared(count, count * given[1] // given[0], seed=seed).is_decided for seed in others]
    assert np.mean(decided) >= 0.6


def test_a_model_that_never_saw_them_is_seldom_called_distinguishable():
    """The promise is one in twenty; three models in a row with 25 rows used to fail one in three."""
    verdicts = [compared(25, 190, right=(0.8, 0.8), seed=seed).verdict for seed in range(60)]
    assert verdicts.count("still distinguishable") <= 7
    assert "not distinguishable" not in verdicts


def test_the_difference_of_accuracies_is_within_classes():
    """Class 1 is hard and most forgotten examples are of it: pooled, they are 27 points behind."""
    labels = np.repeat([0, 1], [100, 1900]), np.repeat([0, 1], [1000, 1000])
    right = tuple(np.arange(len(side)) % 10 < np.where(side == 0, 10, 4) for side in labels)
    assert right[0].mean() - right[1].mean() == pytest.approx(-0.27, abs=0.01)
    scores = tuple(np.arange(len(side)) % 7.0 for side in labels)
    assert run_held_out_test(scores, right, labels).gap == pytest.approx(0.0, abs=1e-3)


def test_what_is_left_out_is_named():
    found = run_held_out_test(([1.0, 2.0, 3.0], [1.0, 2.0]), ([1, 1, 1], [1, 0]), ([0, 0, 7], [0, 0]))
    assert (found.left_out, found.examples) == ((7,), 2)
    assert "class 7 has no held-out examples and is left out" in found.sentence


@pytest.mark.parametrize(
    ("hits", "trials", "verdict"),
    [
        (0, 66, "not distinguishable"),
        (0, 65, "undecided"),
        (1, 300, "not distinguishable"),
        (3, 300, "undecided"),
        (9, 300, "still distinguishable"),
        (2, 2, "still distinguishable"),
        (0, 2, "undecided"),
    ],
)
def test_a_class_is_recognized_or_not_or_there_are_too_few_of_it(hits, trials, verdict):
    found = run_recognition_test(hits, trials)
    assert found.verdict == verdict
    assert (found.needed is None) == (verdict != "undecided")
    assert found.recognized_low <= hits / trials <= found.recognized_high
    assert found.recognized_low < found.recognized_high


def test_the_side_that_is_recognized_too_often_decides():
    assert run_class_test([(0, 1000), (20, 40)]).verdict == "still distinguishable"
    assert run_class_test([(0, 1000), (0, 3)]).verdict == "not distinguishable"
    assert run_class_test([(0, 0)]) is None


def test_two_tests_are_met_together_or_not():
    same, apart, few = compared(3000, 3000), compared(3000, 3000, 0.5), compared(25, 200)
    gone, seen, unsure = run_recognition_test(0, 500), run_recognition_test(400, 500), run_recognition_test(0, 9)
    assert combine_tests(same, gone).verdict == "not distinguishable"
    assert combine_tests(same, seen).verdict == combine_tests(apart, unsure).verdict == "still distinguishable"
    assert combine_tests(same, seen).reasons == ("recognized",)
    both = combine_tests(few, unsure)
    assert (both.verdict, both.needed) == ("undecided", max(few.needed, unsure.needed))
    assert both.recognized == 0.0


def test_plain_values_come_back_as_they_were():
    for found in (compared(25, 200), run_recognition_test(0, 9)):
        assert HeldOutTest.from_dict(asdict(found)) == found
        assert found.as_dict()["sentence"] == found.sentence


def test_the_margin_is_between_nothing_and_everything():
    with pytest.raises(ConfigError, match=r"margin between 0 and \.5"):
        run_held_out_test(([1.0], [1.0]), ([1], [1]), ([0], [0]), margin=0.5)


def test_so_many_examples_as_nine_of_ten_draws_name_decide():
    named = [compared(25, 100, right=(0.99, 0.99), classes=1, seed=seed).needed for seed in range(60)]
    few = int(np.quantile([number for number in named if number is not None], 0.1))
    verdicts = [compared(few, 4 * few, right=(0.99, 0.99), classes=1, seed=seed).verdict for seed in range(20)]
    assert verdicts.count("not distinguishable") >= 14
    remembered = [compared(12, 48, shift=0.8, classes=1, seed=seed).needed for seed in range(40)]
    assert np.median([number for number in remembered if number is not None]) < 1_000


def test_classes_that_are_left_out_are_called_by_their_names():
    two = run_held_out_test(([0.0, 1.0], [0.5]), ([True, True], [True]), ([7, 1], [1]))
    named = two.with_class_names([f"digit {number}" for number in range(8)])
    assert "class digit 7 has no held-out examples and is left out" in named.sentence
    assert HeldOutTest.from_dict(json.loads(json.dumps(named.as_dict()))) == named


def test_a_single_example_is_one_example():
    found = run_held_out_test(([0.3], np.arange(40.0)), ([True], np.ones(40, bool)), ([1], np.ones(40, int)))
    assert found.verdict == "undecided"
    assert "cannot be decided with 1 example; about" in found.sentence
