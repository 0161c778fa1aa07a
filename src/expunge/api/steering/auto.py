"""``auto``: the method that is used where none is named, and the search for what is left to choose."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import ceil
from statistics import median
from typing import Any, NamedTuple, cast

from expunge.api.steering.looks import LOOKS
from expunge.api.steering.trial import UPDATES, Trial, Trials, drawn
from expunge.api.steering.tried import Tried
from expunge.batch import Examples, Split, looking
from expunge.methods import Counterfactual, Method, build_method
from expunge.objectives import Counterfactual as Votes

VOTES = "counterfactual"
"""The method for classifiers."""
BATCH = 64
"""Examples of each side in an update."""
FEWEST = 200
"""Updates that a run is planned with, at least."""
LEAST = UPDATES
"""Updates of a run, at least, however little time there is: what a trial of the search has."""
READINGS = 0.25
"""Share of the time left that control readings take at most; where that is too little there are fewer of them."""
FEWEST_LOOKS = 3
"""Control readings of a run, at least."""
PASSES = 2
"""Passes over the retained examples, at least, where single examples are forgotten; for whole classes one is enough."""
RATES = (0.005, 0.01, 0.02, 0.04)
"""Learning rates of the range test, which stops at the first that breaks the budget."""
SHARES = (1 / 32, 1 / 16)
"""Shares of the data on which rates are tried: the range test on the first, the better half of them on the second."""
MARGIN = 0.5
"""Share of the time that the search may take at most."""


class Found(NamedTuple):
    """What the search came to.

    Args:
        method: With every setting.
        split: What the run uses: with fewer retained examples where the time is short.
        record: What was tried and found, as plain values; None where nothing was searched.
        looks: Control readings that there is time for.
        hurried: Whether there was too little time for all epochs, retained examples and readings. Default false.
    """

    method: Method
    split: Split
    record: dict[str, Any] | None = None
    looks: int = LOOKS
    hurried: bool = False


class Room(NamedTuple):
    """What there is time for.

    Args:
        updates: Of the run.
        looks: Control readings.
    """

    updates: int
    looks: int

    @classmethod
    def left(cls, seconds: float, tried: Iterable[Trial], split: Split, looked_at: int) -> Room:
        """Return what fits into a time, by what trials took.

        Beside updates and readings there are three more passes without gradients: votes for what is forgotten, the
        first look and the certify half.

        Args:
            seconds: That are left.
            tried: Trials, at least one.
            split: Of the request.
            looked_at: Examples that a reading reads.
        """
        trials = list(tried)
        pace, each = (median(values) for values in zip(*((it.pace, it.reading) for it in trials), strict=True))
        votes = each * (len(split.retain) + len(split.forget))
        return cls.fitting(seconds, pace, each * looked_at, votes)

    @classmethod
    def fitting(cls, seconds: float, pace: float, reading: float, once: float = 0.0) -> Room:
        """Return what fits into a time: readings into a quarter of it, updates into what they leave.

        Args:
            seconds: That are left.
            pace: Seconds of an update.
            reading: Seconds of a control reading; the first look and the certify half are two more of them.
            once: Seconds of what is done once. Default none.
        """
        looks = max(FEWEST_LOOKS, min(LOOKS, int(READINGS * max(0.0, seconds) / max(1e-9, reading))))
        passes = once + (looks + 2) * reading
        return cls(max(LEAST, int((seconds - passes) / max(1e-9, pace))), looks)


def planned(retained: int, settings: dict[str, Any], *, single: bool = False) -> Counterfactual:
    """Return the method for a request before anything is searched: the neighbours' votes under a controller.

    Whole classes and single examples alike are taught what their retained neighbours are: of a class that is gone
    these say what a model that never saw it would take it for.

    Args:
        retained: Examples to keep.
        settings: Of the method, that the caller wants otherwise.
        single: Whether single examples of classes that stay are to be forgotten, each of which has to be learnt anew.
    """
    passes = max(PASSES if single else 1, ceil(FEWEST / max(1, ceil(retained / BATCH))))
    plain = {"batch": BATCH, "forget_batch": BATCH, "epochs": passes}
    found = build_method(VOTES, **{**plain, "schedule": "cosine", **settings})
    return cast(Counterfactual, found)


def voting(method: Method, trials: Trials, tried: Tried) -> Method:
    """Return the method with its vote chosen once, so that trials and the run itself need not."""
    asked, split = cast(Counterfactual, method), replace(trials.split, holdout=trials.control)
    if tried.vote is None:
        # A model in training mode would move its statistics, which are the caller's, and answer by those of a batch.
        with looking(trials.original.model):
            vote = Votes(asked.layer, asked.neighbours, asked.temperature).chosen(trials.original, split)
        tried.vote = vote._asdict()
    return replace(asked, **tried.vote)


@dataclass(frozen=True)
class Search:
    """Chooses the learning rate for a request, from control readings alone.

    A range test and successive halving in one ("Non-stochastic Best Arm Identification and Hyperparameter
    Optimization", Jamieson and Talwalkar, 2016, arXiv 1502.07943): from the smallest rate up, one pass over a 32nd of
    the data, until the held-out loss rises by more than the budget's first τ; the better half of those tried goes over
    a 16th. Class requests are judged by the control accuracy among trials that no longer recognise the class, others by
    |Δ train accuracy| + |Δ control accuracy| + |accuracy on forgotten examples − the original's on control examples|
    + 100 |AUC − ½| of telling these apart, both within classes. Neither a retrained model, nor test data, nor the
    certify half is looked at.

    Args:
        trials: What is needed for a trial.
        deadline: When the run has to be done, as ``time.perf_counter`` tells it.
        tried: What an earlier sitting has found.
    """

    trials: Trials
    deadline: float
    tried: Tried = field(default_factory=Tried)

    def best(self, method: Method) -> tuple[Method, dict[str, Any]]:
        """Return the method with the rate that did best, and what was tried."""
        began = self.tried.began
        last = began + MARGIN * (self.deadline - began)
        candidates, rounds, known = list(RATES), [], self.tried.rounds
        for number, share in enumerate(SHARES):
            over = number + 1 < len(known)
            if number == len(known) > 0 and self.late(last):
                break
            found = known[number] if over else self.round(method, candidates, share, last, number)
            rounds.append({"share": share, "trials": [trial.plain() for trial in found]})
            order = sorted(found, key=lambda trial: trial.badness(self.trials.wish.budget.allowed))
            candidates = sorted(trial.rate for trial in order[: ceil(len(order) / 2)])
            if len(candidates) == 1:
                break
        rate = min(trial.rate for trial in order if trial.as_good_as(order[0]))
        return replace(method, rate=rate), {"rounds": rounds, "rate": rate, "seconds": time.perf_counter() - began}

    def round(self, method: Method, rates: list[float], share: float, last: float, number: int) -> list[Trial]:
        """Return a trial of each rate; the first round, a range test, ends after the first that breaks the budget."""
        bench, limit = self.trials.on_share(share), self.trials.wish.budget.tolerance(self.trials.first)
        if number == len(self.tried.rounds):
            self.tried.rounds.append([])
        found = self.tried.rounds[number]
        for place, rate in enumerate(rates):
            if place == len(found):
                if found and self.late(last):
                    break
                found.append(bench.run(replace(method, rate=rate)))
                self.tried.note()
            if number == 0 and not found[place].rise <= limit:
                break
        return found

    def late(self, last: float) -> bool:
        """Return whether one more trial, which takes as long as the latest, would end too late."""
        latest = [trial for trials in self.tried.rounds for trial in trials][-1]
        return time.perf_counter() + latest.seconds > last


def searched(method: Method, trials: Trials, deadline: float) -> Found:
    """Return the method with what was left to choose chosen, and what the run uses of the data."""
    tried = Tried(trials.conditions.savepoints)
    best = voting(method, trials, tried)
    if tried.outcome is None:
        found, record = Search(trials.quick(), deadline, tried).best(best)
        made = [trial for part in tried.rounds for trial in part]
        room = Room.left(deadline - time.perf_counter(), made, trials.split, trials.looked_at)
        tried.outcome = {"rate": found.rate, "room": room._asdict(), "record": record}
        tried.note()
    record, room = dict(tried.outcome["record"]), Room(**tried.outcome["room"])
    best = replace(best, rate=tried.outcome["rate"])
    best, retain = shortened(best, trials.split.retain, room.updates, trials.conditions.seed)
    if len(retain) < len(trials.split.retain):
        record["retain"] = len(retain)
    if room.looks < LOOKS:
        record["looks"] = room.looks
    hurried = best.epochs < method.epochs or len(retain) < len(trials.split.retain) or room.looks < LOOKS
    return Found(best, replace(trials.split, retain=retain), record, room.looks, hurried)


def shortened(method: Method, retain: Examples, room: int, seed: int) -> tuple[Method, Examples]:
    """Return the method with fewer epochs, and then one over fewer retained examples, if there is no room for all.

    Args:
        method: What is to be carried out.
        retain: Examples to keep.
        room: Updates that there is time for.
        seed: Of the draw.
    """
    each = ceil(len(retain) / method.batch)
    if room >= each:
        return replace(method, epochs=min(method.epochs, room // each)), retain
    return replace(method, epochs=1), drawn(retain, room / each, BATCH, seed)
