"""The range test of ``auto`` for diffusion models, on the committed model of handwritten digits."""

import copy
import math
import time
from dataclasses import replace

import pytest
import torch
from flat_calls import flat_unlearn
from small_diffusion import MODELS, diffusers

from expunge.api.steering import lr_range_test
from expunge.api.steering.auto import MIN_EVALUATIONS, MIN_STEPS
from expunge.api.steering.evaluation_schedule import MAX_EVALUATIONS
from expunge.api.steering.lr_range_test import MAX_LOSS_INCREASE, LearningRateRangeTest, select_eval_examples
from expunge.api.unlearning import unlearn
from expunge.batch import Split
from expunge.budget import Budget, evaluate_model
from expunge.data import Subset, TensorExamples
from expunge.engine import RunOptions

BATCH = 8


@pytest.fixture(scope="module")
def case():
    diffusers()
    from expunge.demo import diffusion_plan

    case = diffusion_plan.load_case(diffusion_plan.DIGITS, models_dir=MODELS)
    few = replace(case.split, forget=Subset(case.split.forget, range(24)), retain=Subset(case.split.retain, range(72)))
    return replace(case, split=few)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(lr_range_test, "TRIAL_STEPS", 3)
    monkeypatch.setattr(lr_range_test, "MAX_STEPS", 4)
    monkeypatch.setattr(lr_range_test, "EVAL_SUBSET_SIZE", 40)


def unlearned(case, **more):
    sides = {"forget": case.split.forget, "retain": case.split.retain}
    return flat_unlearn(case.original, **sides, task="diffusion", batch_size=BATCH, **more)


def test_the_largest_rate_that_leaves_the_loss_where_it_was_is_taken(case, quick):
    before = copy.deepcopy(case.original.state_dict())
    result = unlearned(case)
    trials = result.search_history["rounds"][0]["trials"]
    rates, spent = [trial["lr"] for trial in trials], [trial["spent"] for trial in trials]
    assert rates == sorted(rates)
    assert all(rise <= MAX_LOSS_INCREASE for rise in spent[:-1]), "it ends at the first rate that is too large"
    good = [rate for rate, rise in zip(rates, spent, strict=True) if rise <= MAX_LOSS_INCREASE]
    assert result.search_history["lr"] == result.method.lr == max(good, default=rates[0])
    assert [trial["updates"] for trial in trials] == [3] * len(trials)
    assert len(result.history) == 4
    assert "recognized" in result.search_history
    assert result.search_history["retain"] == len(result.split.retain) < len(case.split.retain)
    assert all(torch.equal(value, before[name]) for name, value in case.original.state_dict().items())


@pytest.mark.parametrize(
    ("seconds", "each", "room"),
    [
        (1000.5, 0.0, (600, MAX_EVALUATIONS)),
        # A second a reading: ten of them and two more passes.
        (112.5, 0.01, (100, MAX_EVALUATIONS)),
        # Twenty seconds: a quarter of the time is two of them, so three, and two more.
        (160.5, 0.2, (60, MIN_EVALUATIONS)),
        (0.0, 0.2, (MIN_STEPS, MIN_EVALUATIONS)),
    ],
)
def test_inside_a_budget_there_is_room_for_what_readings_leave(monkeypatch, seconds, each, room):
    control = TensorExamples(torch.zeros(100, 1), [0] * 100)
    split = Split(control, control, 1, control)
    monkeypatch.setattr("expunge.api.steering.lr_range_test.time.perf_counter", lambda: 0.0)
    test = LearningRateRangeTest(None, split, None, None, RunOptions(), seconds, budget=Budget(loss_increase=0.05))
    assert test.allocate(1.0, each) == room
    without = LearningRateRangeTest(None, replace(split, holdout=None), None, None, RunOptions(), seconds)
    assert without.allocate(1.0, each) == (
        max(lr_range_test.TRIAL_STEPS, min(lr_range_test.MAX_STEPS, int(seconds))),
        MAX_EVALUATIONS,
    )


def test_a_trial_tells_how_much_the_loss_rose(case, quick):
    """Against the same updates made by hand, from the same seed."""
    result = unlearned(case, epochs=1)
    first = result.search_history["rounds"][0]["trials"][0]
    few = lr_range_test.subsample(case.split.retain, 3 * BATCH, 0)
    plain = unlearn(
        case.original,
        forget=case.split.forget,
        retain=few,
        task="diffusion",
        batch_size=BATCH,
        epochs=1,
        lr=first["lr"],
    )
    from expunge.tasks.diffusion.task import Diffusion

    family, judged = Diffusion(), select_eval_examples(case.split)
    before, after = (
        evaluate_model(family.make_predictor(model), judged).loss for model in (case.original, plain.model)
    )
    assert first["loss_increase"] == pytest.approx(after - before, rel=1e-4)
    assert first["spent"] == pytest.approx(after / before - 1, rel=1e-4)


def test_what_the_caller_says_is_not_searched(case, quick):
    assert unlearned(case, lr=1e-4, epochs=1).search_history is None
    whole = unlearned(case, epochs=1)
    assert whole.method.epochs == 1
    assert len(whole.split.retain) == len(case.split.retain), "epochs are passes over what the caller gave"


def test_the_run_ends_once_the_class_is_no_longer_recognized(case, quick, monkeypatch):
    from expunge.tasks.diffusion import diffusion_classifier

    monkeypatch.setattr(lr_range_test, "CHECK_EVERY", 2)
    result = unlearned(case)
    assert [look["step"] for look in result.search_history["recognized"]] == [2, 4]
    monkeypatch.setattr(lr_range_test, "CHECK_EVERY", 1)
    monkeypatch.setattr(diffusion_classifier, "RECOGNITION_LIMIT", 1.0)
    soon = unlearned(case)
    assert [look["step"] for look in soon.search_history["recognized"]] == [1, 2], "no share is above the limit, twice"
    assert len(soon.history) == 2


def range_test(spent, deadline=math.inf):
    """A range test whose trials cost what is written."""

    class Written(LearningRateRangeTest):
        def run_trial(self, lr, examples, baseline):
            return lr_range_test.Trial(lr, 0.0, spent[lr], updates=3, seconds=1.0)

    data = TensorExamples(torch.zeros(60, 2), [0, 1] * 30)
    split = Split(Subset(data, [0]), data, 2)

    def build(**more):
        from expunge.methods import EUPMU

        return EUPMU(**{"batch_size": 4, **more})

    return Written(torch.nn.Identity(), split, build, None, RunOptions(), deadline)


@pytest.mark.parametrize(
    ("spent", "rate", "tried"),
    [
        ({1: 0.0, 2: 0.01, 4: 0.2, 8: 0.0}, 2, 3),
        ({1: 0.3, 2: 0.0}, 1, 1),
        ({1: 0.0, 2: math.nan, 4: 0.0}, 1, 2),
        ({1: 0.0, 2: math.inf}, 1, 2),
        ({1: -0.1, 2: 0.0}, 2, 2),
    ],
)
def test_the_search_ends_at_the_first_rate_that_breaks_the_limit(monkeypatch, spent, rate, tried):
    monkeypatch.setattr(lr_range_test, "evaluate_model", lambda *_: None)
    found = range_test(spent, time.perf_counter() + 1e6).run(sorted(spent), fixed_epochs=False)
    assert found.method.lr == rate
    assert len(found.record["rounds"][0]["trials"]) == tried


def test_a_search_that_is_gone_on_with_repeats_no_trial(monkeypatch):
    monkeypatch.setattr(lr_range_test, "evaluate_model", lambda *_: None)
    fresh = range_test({1: 0.0, 2: 0.01, 4: 0.2}, time.perf_counter() + 1e6)
    whole = fresh.run([1, 2, 4], fixed_epochs=False)
    later = range_test({4: 0.2}, time.perf_counter() + 1e6)
    state = fresh.state.state_dict()
    later.state.load_state_dict({**state, "outcome": None, "rounds": [state["rounds"][0][:2]]})
    again = later.run([1, 2, 4], fixed_epochs=False)
    assert again.method.lr == whole.method.lr == 2
    assert again.record == whole.record
    assert again.method.epochs == whole.method.epochs
    decided = range_test({})
    decided.state.load_state_dict(state)
    assert decided.run([1, 2, 4], fixed_epochs=False).record == whole.record


def test_a_late_search_takes_what_it_has(monkeypatch):
    monkeypatch.setattr(lr_range_test, "evaluate_model", lambda *_: None)
    found = range_test({1: 0.0, 2: 0.0}, time.perf_counter() - 1).run([1, 2], fixed_epochs=False)
    assert found.method.lr == 1
    updates = found.method.epochs * math.ceil(len(found.split.retain) / 4)
    assert updates <= lr_range_test.TRIAL_STEPS, "no more updates than a trial has"


def test_held_out_examples_of_what_stays_judge_the_trials():
    data = TensorExamples(torch.zeros(6, 2), [0, 1, 0, 1, 2, 2])
    held = TensorExamples(torch.zeros(5, 2), [2, 1, 0, 2, 1])
    split = Split(Subset(data, [4, 5]), Subset(data, [0, 1, 2, 3]), 3, held)
    assert sorted(select_eval_examples(split).targets.tolist()) == [0, 1, 1]
    assert len(select_eval_examples(Split(split.forget, split.retain, 3))) == 4
