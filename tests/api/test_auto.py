"""``method="auto"``: what is searched, what is never looked at, and what is handed over."""

from __future__ import annotations

import json
import math

import pytest
import torch
from flat_calls import flat_unlearn
from searches import timeless
from torch import nn
from torch.nn import functional

from expunge.api.result import get_task
from expunge.api.steering.auto import (
    LEARNING_RATES,
    MIN_EVALUATIONS,
    MIN_PLANNED_STEPS,
    MIN_STEPS,
    LearningRateSearch,
    TimeAllocation,
    build_default_method,
    fit_to_steps,
    search_and_fit,
)
from expunge.api.steering.budget_validation import BudgetOptions
from expunge.api.steering.controller import BudgetController
from expunge.api.steering.options import resolve_method
from expunge.api.steering.search_state import SearchState
from expunge.api.steering.trial import Trial, TrialRunner, subsample_by_class
from expunge.batch import Predictor, Split
from expunge.budget import Budget, split_holdout
from expunge.data import Subset, TensorExamples
from expunge.engine import RunOptions
from expunge.errors import ConfigError
from expunge.methods import build_method
from expunge.objectives import NeighborLabel as Votes
from expunge.request.time_limit import parse_time_limit

POINTS = 4.0


def clouds(count, seed, scale=1.0):
    """Three clouds in eight dimensions."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(3).repeat_interleave(count)
    inputs = torch.randn(3 * count, 8, generator=generator)
    inputs[:, :3] += 1.5 * functional.one_hot(labels, 3)
    return TensorExamples(scale * inputs, labels)


SIDES = clouds(5, 0), clouds(5, 1)


def fitted(data):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(model(data.inputs), data.targets).backward()
        optimizer.step()
    return model.eval()


def problem(kind="class", scale=1.0):
    data = clouds(150, 0, scale)
    chosen = data.targets == 2 if kind == "class" else torch.arange(450) % 9 == 0
    forget, retain = (Subset(data, side.nonzero().flatten()) for side in (chosen, ~chosen))
    return fitted(data), {"forget": forget, "retain": retain, "holdout": clouds(120, 1, scale)}


@pytest.fixture(scope="module", params=["class", "examples"])
def either(request):
    return problem(request.param)


@pytest.fixture(scope="module")
def gone():
    return problem()


def asked(case, **options):
    return flat_unlearn(case[0], **case[1], **{"budget": Budget(accuracy_points=POINTS), "epochs": 3, **options})


def test_the_same_call_gives_the_same_search_and_the_same_bits(either):
    first, second = asked(either), asked(either, method="auto")
    assert timeless(first.search_history) == timeless(second.search_history)
    assert (first.method, first.budget, first.history) == (second.method, second.budget, second.history)
    assert all(torch.equal(value, second.model.state_dict()[name]) for name, value in first.model.state_dict().items())


def test_what_was_searched_is_told_as_plain_values_and_used(either, tmp_path):
    result = asked(either)
    assert json.loads(json.dumps(result.search_history, allow_nan=False)) == result.search_history
    assert result.method.lr == result.search_history["lr"] in LEARNING_RATES
    assert [part["fraction"] for part in result.search_history["rounds"]] == [1 / 32, 1 / 16][
        : len(result.search_history["rounds"])
    ]
    tried = [[trial["lr"] for trial in part["trials"]] for part in result.search_history["rounds"]]
    assert tried[0] == list(LEARNING_RATES[: len(tried[0])])
    assert set(tried[-1]) <= set(tried[0])
    assert result.search_history["lr"] in tried[-1]
    told = json.loads((result.save(tmp_path / "run") / "config.json").read_text())
    assert told["search"] == result.search_history
    assert told["method"]["lr"] == result.search_history["lr"]


class Noting(TensorExamples):
    """Held-out examples that note which of them are read, and at which point of a story."""

    def __init__(self, other, story):
        super().__init__(other.inputs, other.targets)
        self.story = story

    def batch(self, indices):
        self.story.append(set(indices.tolist()))
        return super().batch(indices)


@pytest.mark.parametrize("kind", ["class", "examples"])
def test_the_certify_half_stays_closed_during_search_and_run(kind, monkeypatch):
    story, (model, request) = [], problem(kind)
    holdout = Noting(request["holdout"], story)
    certify = {*split_holdout(holdout.targets, 0, excluded_classes=[2] if kind == "class" else []).certify.tolist()}

    def noted(*args):
        story.append("search")
        found = search_and_fit(*args)
        story.append("found")
        return found

    def opened(self, work):
        story.append("hand over")
        return HAND_OVER(self, work)

    monkeypatch.setattr("expunge.api.steering.plan.search_and_fit", noted)
    monkeypatch.setattr(BudgetController, "finalize", opened)
    result = asked((model, {**request, "holdout": holdout}), priority="forgetting")
    begun, found, handed = (story.index(word) for word in ("search", "found", "hand over"))
    assert found - begun > 20
    before = set().union(*(read for read in story[begun:handed] if isinstance(read, set)))
    assert before
    assert not before & certify
    assert result.budget.certificate is not None
    assert set().union(*story[handed + 1 :]) == certify


HAND_OVER = BudgetController.finalize


@pytest.mark.parametrize("method", [None, "auto"])
def test_a_given_rate_or_no_budget_or_a_named_method_means_no_search(gone, method):
    given = asked(gone, method=method, lr=0.013)
    assert (given.search_history, given.method.lr, given.method.label) == (None, 0.013, "Neighbor labels")
    free = asked(gone, method=method, budget=None)
    assert (free.search_history, free.budget, free.method.label) == (None, None, "Neighbor labels")
    assert asked(gone, method="neighbor_labels").search_history is None


def test_the_search_takes_a_smaller_rate_where_large_ones_diverge():
    """Inputs that are forty times as large make the same rates so many times too large."""
    calm, wild = (
        asked(problem("class", scale), max_grad_norm=None, momentum=0.0).search_history for scale in (1.0, 40.0)
    )
    assert wild["lr"] < calm["lr"]
    last = wild["rounds"][0]["trials"][-1]
    assert len(wild["rounds"][0]["trials"]) < len(LEARNING_RATES) == len(calm["rounds"][0]["trials"])
    assert last["loss_increase"] is None or last["loss_increase"] > Budget(accuracy_points=POINTS).tolerance(None)


def test_the_vote_is_chosen_once(gone, monkeypatch):
    asks = []

    def chosen(self, original, data):
        asks.append((self.layer, self.num_neighbors, self.temperature))
        return CHOSEN(self, original, data)

    monkeypatch.setattr(Votes, "select_settings", chosen)
    method = asked(gone).method
    assert asks[0] == (None, None, None)
    assert {*asks[1:]} == {(method.layer, method.num_neighbors, method.temperature)}
    assert None not in asks[1]


CHOSEN = Votes.select_settings


def test_too_short_a_time_means_fewer_retained_examples_and_still_an_answer(gone, monkeypatch):
    monkeypatch.setattr("expunge.api.steering.auto.MIN_STEPS", 2)
    result = asked(gone, time_limit=1e-3)
    assert len(result.search_history["rounds"]) == 1
    assert len(result.search_history["rounds"][0]["trials"]) == 1
    assert (result.method.epochs, result.search_history["retain"], result.search_history["evaluations"]) == (
        1,
        120,
        MIN_EVALUATIONS,
    )
    assert len(result.history) == 2
    assert len(result.split.retain) == 300
    assert {"retain", "evaluations"}.isdisjoint(asked(gone, time_limit="1h").search_history)


def test_the_least_is_a_trial_and_a_run_of_as_many_updates_and_three_readings(gone):
    result = flat_unlearn(gone[0], **gone[1], budget=Budget(accuracy_points=POINTS), time_limit=1e-3)
    assert len(result.search_history["rounds"][0]["trials"]) == len(result.search_history["rounds"]) == 1
    assert len(result.history) == MIN_STEPS - MIN_STEPS % math.ceil(300 / 64)
    assert len(result.budget.evaluations) == 1 + MIN_EVALUATIONS


def trial(pace, reading):
    return Trial(0.01, 0.0, updates=24, seconds=1.0, pace=pace, reading=reading)


SIZES = Split(clouds(100, 0), clouds(300, 1), 3)


@pytest.mark.parametrize(
    ("seconds", "pace", "reading", "room"),
    [
        (100.01, 0.1, 0.0, (1000, 10)),
        # Two seconds a reading: ten of them and three more passes, 1,200 + 2 × 2,000 examples.
        (100.01, 0.1, 1e-3, (748, 10)),
        # Ten seconds a reading: of a hundred a quarter is two, so three; with the passes they take 56.
        (100.01, 0.1, 5e-3, (440, MIN_EVALUATIONS)),
        (-5.0, 0.1, 5e-3, (MIN_STEPS, MIN_EVALUATIONS)),
    ],
)
def test_there_is_room_for_what_remains_after_readings(seconds, pace, reading, room):
    found = TimeAllocation.from_trials(seconds, [trial(pace, reading), trial(9.0, 9.0), trial(0.0, 0.0)], SIZES, 2000)
    assert found == room


@pytest.mark.parametrize(("seconds", "tried"), [(0.0, [4, 2]), (40.0, [1]), (20.0, [2])])
def test_no_trial_begins_that_would_end_after_half_of_the_time(gone, monkeypatch, seconds, tried):
    """What a trial took is made up, so that no other work on this machine decides."""
    now = [0.0]

    def run(self, method):
        now[0] += seconds
        spent = {0.005: 2.0, 0.01: 1.0, 0.02: 3.0, 0.04: 3.5}[method.lr]
        return Trial(method.lr, 0.0, spent, 0.0, spent, 24, seconds, 0.0, 0.0)

    monkeypatch.setattr("expunge.api.steering.trial.TrialRunner.run", run)
    monkeypatch.setattr("expunge.api.steering.auto.time.perf_counter", lambda: now[0])
    wish, (model, request) = BudgetOptions(Budget(accuracy_points=POINTS), "budget"), gone
    split = Split(request["forget"], request["retain"], 3, request["holdout"])
    trials = TrialRunner(wish, Predictor(model), split, request["holdout"], RunOptions())
    record = LearningRateSearch(trials, 100.0, SearchState()).run(build_default_method(300, {}))[1]
    assert [len(part["trials"]) for part in record["rounds"]] == tried


@pytest.mark.parametrize(
    ("room", "epochs", "share"),
    [(400, 10, 1.0), (200, 10, 1.0), (199, 9, 1.0), (20, 1, 1.0), (10, 1, 0.5), (0, 1, 0.2)],
)
def test_epochs_go_first_and_then_retained_examples(room, epochs, share):
    data = clouds(200, 0)
    retain = Subset(data, torch.arange(600)[:320])
    found, kept = fit_to_steps(build_method("rl", batch_size=16, epochs=10), retain, room, 0)
    assert found.epochs == epochs
    assert len(kept) == pytest.approx(share * len(retain), abs=2)


def test_before_the_search_there_are_enough_updates_and_settings_have_their_way():
    for retained in (10, 64, 65, 1000, 10**5):
        found = build_default_method(retained, {})
        updates = found.epochs * math.ceil(retained / found.batch_size)
        assert MIN_PLANNED_STEPS <= updates < MIN_PLANNED_STEPS + math.ceil(retained / found.batch_size)
        assert (found.batch_size, found.forget_batch_size, found.schedule) == (64, 64, "cosine")
    assert [build_default_method(10**5, {}, single=single).epochs for single in (False, True)] == [1, 2]
    assert build_default_method(1000, {"epochs": 2, "schedule": "constant", "batch_size": 8}).epochs == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"spoon": 1}, "spoon"),
        ({"time_limit": "soon"}, "a time limit such as '10min', but found 'soon'"),
        ({"time_limit": 0}, "a time limit"),
        ({"time_limit": "1.2.3h"}, "a time limit"),
        ({"tolerance": 0.1}, "found tolerance= beside it"),
        ({"method": "automatic"}, "automatic"),
    ],
)
def test_what_is_not_understood_is_refused_in_one_sentence(gone, options, words):
    steps = []
    with pytest.raises(ConfigError) as caught:
        asked(gone, on_step=steps.append, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert steps == []


def test_times_are_seconds_minutes_and_hours():
    times = {"90s": 90.0, "10min": 600.0, "2h": 7200.0, "0.5 h": 1800.0, "45": 45.0, 1.5: 1.5, 7: 7.0}
    assert {text: parse_time_limit(text) for text in times} == times


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_a_draw_keeps_every_class_in_proportion_and_is_the_same_each_time(share):
    labels = [0] * 500 + [1] * 40 + [5] * 3 + [9]
    data = TensorExamples(torch.arange(544.0)[:, None], labels)
    first, again, other = (subsample_by_class(data, share, 0, seed) for seed in (1, 1, 2))
    for label, count in ((0, 500), (1, 40), (5, 3), (9, 1)):
        assert int((first.targets == label).sum()) == math.ceil(share * count)
    every = [part.batch(torch.arange(len(part))).inputs.flatten().tolist() for part in (first, again, other)]
    assert every[0] == every[1] != every[2]
    assert len({*every[0]}) == len(every[0])
    assert len(subsample_by_class(data, share, 200, 1)) >= 200
    assert subsample_by_class(data, 1.0, 0, 1) is subsample_by_class(data, share, 544, 1) is data


def test_a_search_leaves_the_model_as_it_was(gone):
    before = {name: value.clone() for name, value in gone[0].state_dict().items()}
    result = asked(gone)
    assert result.original is gone[0]
    assert all(torch.equal(value, before[name]) for name, value in gone[0].state_dict().items())
    assert len({row["step"] for row in result.history}) == len(result.history) == 15


@pytest.mark.parametrize("task", ["diffusion", "stable_diffusion"])
def test_other_families_get_a_method_of_their_own_with_their_settings(task):
    family = get_task(task)
    found = resolve_method(family, None, SIDES, {})
    assert found == resolve_method(family, family.default_method, SIDES, {})
    assert found.label != "Neighbor labels"
    assert resolve_method(get_task("classification"), None, SIDES, {}).label == "Neighbor labels"
