"""``auto``: the method that is used where none is named, and the search for what is left to choose."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import ceil
from statistics import median
from typing import Any, NamedTuple, cast

from expunge.api.steering.evaluation_schedule import MAX_EVALUATIONS
from expunge.api.steering.search_state import SearchState
from expunge.api.steering.trial import MIN_TRIAL_STEPS, Trial, TrialRunner, subsample_by_class
from expunge.batch import Examples, Split, evaluation_mode
from expunge.methods import Method, NeighborLabels, build_method
from expunge.objectives import NeighborLabel as Votes

DEFAULT_METHOD = "neighbor_labels"
"""The method for classifiers."""
BATCH_SIZE = 64
"""Examples of each side in an update."""
MIN_PLANNED_STEPS = 200
"""Updates that a run is planned with, at least."""
MIN_STEPS = MIN_TRIAL_STEPS
"""Updates of a run, at least, however little time there is: what a trial of the search has."""
EVALUATION_TIME_FRACTION = 0.25
"""Share of the time left that control readings take at most; where that is too little there are fewer of them."""
MIN_EVALUATIONS = 3
"""Control readings of a run, at least."""
MIN_EPOCHS = 2
"""Passes over the retained examples, at least, where single examples are forgotten; for whole classes one is enough."""
LEARNING_RATES = (0.005, 0.01, 0.02, 0.04)
"""Learning rates of the range test, which stops at the first that breaks the budget."""
DATA_FRACTIONS = (1 / 32, 1 / 16)
"""Shares of the data on which rates are tried: the range test on the first, the better half of them on the second."""
SEARCH_TIME_FRACTION = 0.5
"""Share of the time that the search may take at most."""


class SearchResult(NamedTuple):
    """What the search came to.

    Args:
        method: With every setting.
        split: What the run uses: with fewer retained examples where the time is short.
        record: What was tried and found, as plain values; None where nothing was searched.
        num_evaluations: Control readings that there is time for.
        cut_short: Whether there was too little time for all epochs, retained examples and readings. Default false.
    """

    method: Method
    split: Split
    record: dict[str, Any] | None = None
    num_evaluations: int = MAX_EVALUATIONS
    cut_short: bool = False


class TimeAllocation(NamedTuple):
    """What there is time for.

    Args:
        updates: Of the run.
        num_evaluations: Control readings.
    """

    updates: int
    num_evaluations: int

    @classmethod
    def from_trials(cls, seconds: float, trial_runs: Iterable[Trial], split: Split, eval_size: int) -> TimeAllocation:
        """Return what fits into a time, by what trials took.

        Beside updates and readings there are three more passes without gradients: votes for what is forgotten, the
        first look and the certify half.
        """
        trials = list(trial_runs)
        seconds_per_step, seconds_per_example = (
            median(values) for values in zip(*((it.pace, it.reading) for it in trials), strict=True)
        )
        knn_seconds = seconds_per_example * (len(split.retain) + len(split.forget))
        return cls.allocate(seconds, seconds_per_step, seconds_per_example * eval_size, knn_seconds)

    @classmethod
    def allocate(
        cls, seconds: float, seconds_per_step: float, seconds_per_evaluation: float, one_time_seconds: float = 0.0
    ) -> TimeAllocation:
        """Return what fits into a time: readings into a quarter of it, updates into what they leave.

        Args:
            seconds: That are left.
            seconds_per_step: Seconds of an update.
            seconds_per_evaluation: Seconds of a control reading; the first look and the certify half are two more.
            one_time_seconds: Seconds of what is done once. Default none.
        """
        num_evaluations = max(
            MIN_EVALUATIONS,
            min(MAX_EVALUATIONS, int(EVALUATION_TIME_FRACTION * max(0.0, seconds) / max(1e-9, seconds_per_evaluation))),
        )
        evaluation_seconds = one_time_seconds + (num_evaluations + 2) * seconds_per_evaluation
        return cls(max(MIN_STEPS, int((seconds - evaluation_seconds) / max(1e-9, seconds_per_step))), num_evaluations)


def build_default_method(num_retained: int, settings: dict[str, Any], *, single: bool = False) -> NeighborLabels:
    """Return the method for a request before anything is searched: the neighbors' votes under a controller.

    Whole classes and single examples alike are taught what their retained neighbors are: of a class that is gone
    these say what a model that never saw it would take it for.
    """
    epochs = max(MIN_EPOCHS if single else 1, ceil(MIN_PLANNED_STEPS / max(1, ceil(num_retained / BATCH_SIZE))))
    defaults = {"batch_size": BATCH_SIZE, "forget_batch_size": BATCH_SIZE, "epochs": epochs}
    method = build_method(DEFAULT_METHOD, **{**defaults, "schedule": "cosine", **settings})
    return cast(NeighborLabels, method)


def select_knn_settings(method: Method, trials: TrialRunner, state: SearchState) -> Method:
    """Return the method with its vote chosen once, so that trials and the run itself need not."""
    knn_method, split = cast(NeighborLabels, method), replace(trials.split, holdout=trials.control)
    if state.knn_settings is None:
        # A model in training mode would move its statistics, which are the caller's, and answer by those of a batch.
        with evaluation_mode(trials.original.model):
            knn_settings = Votes(knn_method.layer, knn_method.num_neighbors, knn_method.temperature).select_settings(
                trials.original, split
            )
        state.knn_settings = knn_settings._asdict()
    return replace(knn_method, **state.knn_settings)


@dataclass(frozen=True)
class LearningRateSearch:
    """Chooses the learning rate for a request, from control readings alone.

    A range test and successive halving in one ("Non-stochastic Best Arm Identification and Hyperparameter
    Optimization", Jamieson and Talwalkar, 2016, arXiv 1502.07943): from the smallest rate up, one pass over a 32nd of
    the data, until the held-out loss rises by more than the budget's first τ; the better half of those tried goes over
    a 16th. Class requests are judged by the control accuracy among trials that no longer recognize the class, others by
    |Δ train accuracy| + |Δ control accuracy| + |accuracy on forgotten examples − the original's on control examples|
    + 100 |AUC − ½| of telling these apart, both within classes. Neither a retrained model, nor test data, nor the
    certify half is looked at.

    Args:
        trials: What is needed for a trial.
        deadline: When the run has to be done, as ``time.perf_counter`` tells it.
        state: What the run found before it was resumed.
    """

    trials: TrialRunner
    deadline: float
    state: SearchState = field(default_factory=SearchState)

    def run(self, method: Method) -> tuple[Method, dict[str, Any]]:
        """Return the method with the rate that did best, and what was tried."""
        start_time = self.state.start_time
        search_deadline = start_time + SEARCH_TIME_FRACTION * (self.deadline - start_time)
        candidates, rounds, earlier_rounds = list(LEARNING_RATES), [], self.state.rounds
        for number, fraction in enumerate(DATA_FRACTIONS):
            is_complete = number + 1 < len(earlier_rounds)
            if number == len(earlier_rounds) > 0 and self.is_out_of_time(search_deadline):
                break
            trials = (
                earlier_rounds[number]
                if is_complete
                else self.run_round(method, candidates, fraction, search_deadline, number)
            )
            rounds.append({"fraction": fraction, "trials": [trial.as_dict() for trial in trials]})
            order = sorted(trials, key=lambda trial: trial.sort_key(self.trials.budget_options.budget.allowed))
            candidates = sorted(trial.lr for trial in order[: ceil(len(order) / 2)])
            if len(candidates) == 1:
                break
        lr = min(trial.lr for trial in order if trial.is_tied_with(order[0]))
        return replace(method, lr=lr), {"rounds": rounds, "lr": lr, "seconds": time.perf_counter() - start_time}

    def run_round(
        self, method: Method, lrs: list[float], fraction: float, search_deadline: float, number: int
    ) -> list[Trial]:
        """Return a trial of each rate; the first round, a range test, ends after the first that breaks the budget."""
        runner, limit = (
            self.trials.on_fraction(fraction),
            self.trials.budget_options.budget.tolerance(self.trials.baseline),
        )
        if number == len(self.state.rounds):
            self.state.rounds.append([])
        trials = self.state.rounds[number]
        for index, lr in enumerate(lrs):
            if index == len(trials):
                if trials and self.is_out_of_time(search_deadline):
                    break
                trials.append(runner.run(replace(method, lr=lr)))
                self.state.save()
            if number == 0 and not trials[index].loss_increase <= limit:
                break
        return trials

    def is_out_of_time(self, search_deadline: float) -> bool:
        """Return whether one more trial, which takes as long as the latest, would end too late."""
        latest = [trial for trials in self.state.rounds for trial in trials][-1]
        return time.perf_counter() + latest.seconds > search_deadline


def search_and_fit(method: Method, trials: TrialRunner, deadline: float) -> SearchResult:
    """Return the method with what was left to choose chosen, and what the run uses of the data."""
    state = SearchState(trials.conditions.checkpoints)
    best = select_knn_settings(method, trials, state)
    if state.outcome is None:
        best_method, record = LearningRateSearch(trials.without_logging(), deadline, state).run(best)
        finished_trials = [trial for part in state.rounds for trial in part]
        allocation = TimeAllocation.from_trials(
            deadline - time.perf_counter(), finished_trials, trials.split, trials.eval_size
        )
        state.outcome = {"lr": best_method.lr, "room": allocation._asdict(), "record": record}
        state.save()
    record, allocation = dict(state.outcome["record"]), TimeAllocation(**state.outcome["room"])
    best = replace(best, lr=state.outcome["lr"])
    best, retain = fit_to_steps(best, trials.split.retain, allocation.updates, trials.conditions.seed)
    if len(retain) < len(trials.split.retain):
        record["retain"] = len(retain)
    if allocation.num_evaluations < MAX_EVALUATIONS:
        record["evaluations"] = allocation.num_evaluations
    cut_short = (
        best.epochs < method.epochs
        or len(retain) < len(trials.split.retain)
        or allocation.num_evaluations < MAX_EVALUATIONS
    )
    return SearchResult(best, replace(trials.split, retain=retain), record, allocation.num_evaluations, cut_short)


def fit_to_steps(method: Method, retain: Examples, max_steps: int, seed: int) -> tuple[Method, Examples]:
    """Return the method with fewer epochs, and then one over fewer retained examples, if there is no room for all."""
    steps_per_epoch = ceil(len(retain) / method.batch_size)
    if max_steps >= steps_per_epoch:
        return replace(method, epochs=min(method.epochs, max_steps // steps_per_epoch)), retain
    return replace(method, epochs=1), subsample_by_class(retain, max_steps / steps_per_epoch, BATCH_SIZE, seed)
