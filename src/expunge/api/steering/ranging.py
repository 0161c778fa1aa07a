"""``auto`` for models without classes to be right about: a range test of the learning rate on their own loss."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from expunge.api.steering.auto import Found, Room
from expunge.api.steering.looks import LOOKS
from expunge.api.steering.trial import Trial
from expunge.api.steering.tried import Tried
from expunge.api.steering.wanted import method_for
from expunge.api.steering.wish import NO_FLOOR, steered
from expunge.batch import Examples, Predictor, Split
from expunge.budget import Budget, Reading, read, whole_classes
from expunge.data import Subset
from expunge.engine import STEADY, Conditions, Guidance, Judged, Recipe, execute
from expunge.engine.conditions import ignore
from expunge.errors import ConfigError, NotFiniteError
from expunge.forward import copy_model
from expunge.methods import Method
from expunge.surgery import Progress
from expunge.tasks.family import Family

RISE = 0.05
"""What the loss on kept examples may rise by in a trial, relative to the original's."""
USUAL = Budget(relative=RISE, floor=NO_FLOOR)
"""The same as a budget, which is what a trial may spend where the caller has none."""
UPDATES = 300
"""Updates of the run, at most."""
SLOWER = 2
"""How many times as many there may be inside a budget, where forgetting is held back and ends as soon as it is met."""
EVERY = 20
"""Updates from one look at the forgotten examples to the next."""
LOOKED = 64
"""Forgotten examples that are looked at."""
IN_A_ROW = 2
"""Looks in a row that have to find them forgotten: one alone may be luck."""
TRIED = 20
"""Updates of a trial."""
READ = 512
"""Examples that a trial is judged on."""
MARGIN = 0.5
"""Share of the time that the search may take at most."""


@dataclass(frozen=True)
class RangeTest:
    """Finds the largest learning rate that leaves the loss on kept examples nearly where it was.

    After L. Smith, "Cyclical Learning Rates for Training Neural Networks" (2017, arXiv 1506.01186): from the smallest
    rate up, ``TRIED`` updates each from the original, until (L(θ) − L(θ₀)) / L(θ₀) exceeds ``RISE``; L is the mean loss
    that the model was trained on, over held-out examples of what stays, or else over retained ones, with the same noise
    each time. The largest rate before that is taken, the smallest of all where none is. That limit and these rates were
    set by models that forget other classes than those whose figures are shown.

    Args:
        original: The model as it was handed in.
        split: The request.
        build: Makes the method that ``auto`` stands for, of settings that differ from its own.
        recipe: The stages of a method for this model.
        conditions: Of the run.
        deadline: When the run has to be done, as ``time.perf_counter`` tells it.
        done: What an earlier sitting has tried already. Default: nothing.
        budget: What a trial may spend on the held-out examples. Default: ``RISE`` of the loss.
    """

    original: Predictor
    split: Split
    build: Callable[..., Method]
    recipe: Callable[[Method], Recipe]
    conditions: Conditions
    deadline: float
    done: Tried = field(default_factory=Tried)
    budget: Budget = USUAL

    def found(self, rates: Sequence[float], *, whole: bool) -> Found:
        """Return the method with its rate, what the run uses of the data, and what was tried.

        Args:
            rates: To be tried, from the smallest up.
            whole: Whether the caller chose the epochs, so that all retained examples are used.
        """
        if self.done.outcome is None:
            self.done.outcome = self.outcome(rates)
            self.done.note()
        rate, record = self.done.outcome["rate"], dict(self.done.outcome["record"])
        looks: int = self.done.outcome["looks"]
        if looks < LOOKS:
            record["looks"] = looks
        if whole:
            return Found(self.build(rate=rate), self.split, record, looks)
        retain, epochs = self.sized(self.done.outcome["room"])
        if len(retain) < len(self.split.retain):
            record["retain"] = len(retain)
        return Found(self.build(rate=rate, epochs=epochs), replace(self.split, retain=retain), record, looks)

    def outcome(self, rates: Sequence[float]) -> dict[str, Any]:
        """Return the rate, the updates that there is time for, and the record."""
        began = time.perf_counter()
        trials = self.tried(rates, began + MARGIN * (self.deadline - began))
        part = {"share": self.share(TRIED), "trials": [trial.plain() for trial in trials]}
        seconds = sum(trial.seconds for trial in trials)
        held = "held-out" if self.split.holdout is not None else "retained"
        held = held if self.budget is USUAL else "control"
        rate = max((trial.rate for trial in trials if trial.spent <= self.budget.allowed), default=rates[0])
        made, each = sum(trial.updates for trial in trials), max(trial.reading for trial in trials)
        room = self.room(seconds / max(1, made), each)
        record = {"rounds": [part], "rate": rate, "seconds": seconds, "examples": held}
        return {"rate": rate, "room": room.updates, "looks": room.looks, "record": record}

    def room(self, pace: float, each: float) -> Room:
        """Return what there is time for; without a budget there are no control readings.

        Args:
            pace: Seconds of an update.
            each: Seconds of looking at one example.
        """
        left = max(0.0, self.deadline - time.perf_counter())
        if self.budget is USUAL or self.split.holdout is None:
            return Room(max(TRIED, int(min(UPDATES, left / max(pace, 1e-9)))), LOOKS)
        fits = Room.fitting(left, pace, each * len(self.split.holdout))
        return fits._replace(updates=min(SLOWER * UPDATES, fits.updates))

    def tried(self, rates: Sequence[float], last: float) -> list[Trial]:
        """Return a trial of each rate up to the first that is too large, or until the time is up."""
        examples = kept(self.split)
        first = read(self.original, examples, self.budget.gauge)
        if not self.done.rounds:
            self.done.rounds.append([])
        found = self.done.rounds[0]
        for place, rate in enumerate(rates):
            if place == len(found):
                found.append(self.trial(rate, examples, first))
                self.done.note()
            if not found[place].spent <= self.budget.allowed or time.perf_counter() > last:
                break
        return found

    def trial(self, rate: float, examples: Examples, first: Reading) -> Trial:
        """Return what ``TRIED`` updates come to."""
        began, work = time.perf_counter(), copy.copy(self.original)
        work.model = copy_model(self.original.model)
        retain, epochs = self.sized(TRIED)
        method = self.build(rate=rate, epochs=epochs)
        recipe = self.recipe(method)
        if self.budget is not USUAL:
            steered(recipe).tolerance.fill_(self.budget.tolerance(first))
        quiet = replace(self.conditions, on_step=ignore, on_rows=ignore, observe_every=0, savepoints=None)
        try:
            execute(work, recipe, replace(self.split, retain=retain), quiet)
        except NotFiniteError:
            return Trial(rate, math.inf, seconds=time.perf_counter() - began)
        ran = time.perf_counter()
        now = read(work, examples, self.budget.gauge)
        each = (time.perf_counter() - ran) / len(examples)
        made = epochs * math.ceil(len(retain) / method.batch)
        spent, seconds = self.budget.spent(first, now), time.perf_counter() - began
        return Trial(rate, now.loss - first.loss, spent, updates=made, seconds=seconds, reading=each)

    def share(self, updates: int) -> float:
        """Return the share of the retained examples that so many updates need, 1 at most."""
        return min(1.0, updates * self.build().batch / len(self.split.retain))

    def sized(self, updates: int) -> tuple[Examples, int]:
        """Return the retained examples for so many updates, and the passes over them."""
        batch = self.build().batch
        retain = some(self.split.retain, updates * batch, self.conditions.seed)
        return retain, max(1, updates // math.ceil(len(retain) / batch))


class Ending:
    """Ends a run once the forgotten examples are no longer recognised.

    Args:
        family: Of the model.
        split: The request.
        record: What was tried and found; takes what each look finds, as ``recognised``.
    """

    def __init__(self, family: Family, split: Split, record: dict[str, Any]) -> None:
        self.family, self.examples = family, some(split.forget, LOOKED, 0)
        self.looks: list[dict[str, float]] = record.setdefault("recognised", [])

    def state_dict(self) -> dict[str, Any]:
        """Return the looks so far."""
        return {"looks": self.looks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; the record that was lent keeps its list."""
        self.looks[:] = state["looks"]

    def watching(self, work: Predictor, conditions: Conditions) -> Conditions:
        """Return the conditions with the looks among what happens after an update."""

        def guide(progress: Progress, judged: Judged) -> Guidance:
            if (progress.step + 1) % EVERY:
                return STEADY
            with judged():
                found = self.family.recognised(work, self.examples)
            if found is None:
                return STEADY
            self.looks.append({"step": progress.step + 1, **found._asdict()})
            newest = self.looks[-IN_A_ROW:]
            return Guidance(stop=len(newest) == IN_A_ROW and all(it["share"] <= it["limit"] for it in newest))

        return replace(conditions, guide=guide)


def ranged(
    family: Family,
    original: Predictor,
    split: Split,
    settings: Mapping[str, Any],
    conditions: Conditions,
    deadline: float,
    budget: Budget = USUAL,
) -> Found:
    """Return what ``auto`` stands for in a family, with a rate that a range test found.

    Args:
        family: Of the model.
        original: The model as it was handed in.
        split: The request.
        settings: Of the method, that the caller wants otherwise.
        conditions: Of the run.
        deadline: When the run has to be done, as ``time.perf_counter`` tells it.
        budget: What a trial may spend. Default: ``RISE`` of the loss, and the method is one that keeps no budget.

    Raises:
        ConfigError: If several processes share the run.
    """

    def build(**more: Any) -> Method:
        sides, inside = (split.forget, split.retain), budget is not USUAL
        return family.admit(method_for(family, None, sides, {**settings, **more}, budgeted=inside))

    def recipe(method: Method) -> Recipe:
        return family.recipe(method.recipe(conditions.seed))

    if conditions.shared:
        cure = "name a rate, such as auto with rate: .0003"
        raise ConfigError("nothing to search for on several ranks", "auto without a learning rate", cure)
    test = RangeTest(original, split, build, recipe, conditions, deadline, Tried(conditions.savepoints), budget)
    return test.found(family.rates, whole="epochs" in settings)


def kept(split: Split) -> Examples:
    """Return the examples that a trial is judged on: held-out ones of what stays, or else retained ones."""
    examples = split.retain
    if split.holdout is not None:
        gone = set(whole_classes(split))
        stays = [at for at, label in enumerate(split.holdout.targets.tolist()) if label not in gone]
        examples = Subset(split.holdout, stays)
    return some(examples, READ, 0)


def some(examples: Examples, count: int, seed: int) -> Examples:
    """Return so many of the examples, drawn at random; all where there are no more."""
    if count >= len(examples):
        return examples
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))
    return Subset(examples, order[:count].sort().values)
