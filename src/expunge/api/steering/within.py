"""``within``: unlearning inside a budget, driven by readings of held-out examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from expunge.api.steering.landing import Landing
from expunge.api.steering.looks import LOOKS, due
from expunge.api.steering.wish import DELTA, Halves, Wish, steered
from expunge.batch import Predictor, Split
from expunge.budget import (
    Choice,
    Criterion,
    Forgetting,
    Forgotten,
    Look,
    Reading,
    Rescaled,
    Spending,
    Witness,
    choose,
    frontier,
    opened,
    read,
    read_safely,
    witness,
)
from expunge.engine import STEADY, Conditions, Guidance, Judged, Recipe, agreed, execute
from expunge.engine.execute import state_of
from expunge.errors import DataError
from expunge.surgery import Progress

AVERAGE = 0.99
"""β of the running mean of weights that is judged and handed over: the noise of large steps harms it little."""
SETTLING = round(1 / (1 - AVERAGE))
"""Updates of a landing, at least: as far back as that mean reaches, so that it has left the flight behind."""
RECOVERY = -1.0
"""τ once the request is met, in nats: what is left of the budget is not spent, and the retain loss has all weight."""
OVERRUN = 2.0
"""A stretch after which more than so many times the budget is spent is undone; less is left to the controller."""
SHORTER = 0.5
"""Factor of the learning rate after a stretch that was undone."""


class Keeper:
    """Keeps one run inside a budget.

    Held-out examples of the classes that stay are split into two halves. At ``LOOKS`` readings the working model is
    measured in evaluation mode on the control half; the surgery is told the rise of the loss and given the τ that the
    budget amounts to by what has been observed (``Rescaled``), and the best iterate so far is kept in the CPU's memory.
    At the end the best one is handed over and the certify half, which nothing has read before, is opened once.

    Args:
        wish: The budget.
        original: The model as it was handed in.
        recipe: What is to be carried out: one descent whose surgery has a ``tolerance`` and an ``anchor``.
        split: Of the request, with all held-out examples.
        halves: Held-out examples of the classes that stay: what steers, and what certifies.
        looks: Control readings, at most. Default ``LOOKS``.
        shared: Whether other processes carry out the same run; what the first one reads then counts. Default false.
        forgetting: Says what of the forgetting is missing. Default: ``Forgetting``, that of classifiers.
        first: The original on the control half. Default: it is read.

    Raises:
        ConfigError: If the recipe cannot be steered.
        DataError: If the held-out loss of the model is not finite, or the metric fails on it.
    """

    def __init__(
        self,
        wish: Wish,
        original: Predictor,
        recipe: Recipe,
        split: Split,
        halves: Halves,
        looks: int = LOOKS,
        shared: bool = False,
        forgetting: Criterion | None = None,
        first: Reading | None = None,
    ) -> None:
        self.shared = shared
        self.wish, self.recipe, self.surgery, self.count = wish, recipe, steered(recipe), looks
        self.control, self.certify = halves
        self.forgetting = Forgetting(split, self.control) if forgetting is None else forgetting
        self.split = replace(split, holdout=self.control)
        first = read(original, self.control, wish.budget.gauge) if first is None else first
        self.first = agreed(first, shared)
        if not math.isfinite(self.first.loss):
            found = "a loss of NaN or infinity on held-out examples"
            raise DataError("a finite held-out loss of the model", found, "repair the held-out inputs")
        self.rule = Rescaled(wish.budget.tolerance(self.first))
        self.looks: list[Look] = []
        self.looks.append(self.noted(original, self.first))
        self.states = {0: state_of(original.model)}
        self.surgery.tolerance.fill_(self.rule.tolerance)
        self.landing: Landing | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return readings, iterates, rule and landing; the surgery's state belongs to the descent."""
        return {
            "looks": [asdict(look) for look in self.looks],
            "states": self.states,
            "rule": asdict(self.rule),
            "landing": self.landing if self.landing is None else tuple(self.landing),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.looks = [Look.from_plain(look) for look in state["looks"]]
        self.states, self.rule = dict(state["states"]), Rescaled(**state["rule"])
        self.landing = None if state["landing"] is None else Landing(*state["landing"])

    def noted(self, predict: Predictor, now: Reading) -> Look:
        """Return a reading with what was spent and what of the forgetting is missing."""
        spent = math.inf if now.failed else self.wish.budget.spent(self.first, now)
        # The model as handed in decides nothing, so that its look takes no share of the level.
        forgotten = agreed(self.forgotten(predict), self.shared)
        measured = (now.step, now.loss, now.accuracy, now.value)
        return Look(*measured, spent, self.rule.tolerance, **forgotten._asdict(), failed=now.failed)

    def forgotten(self, predict: Predictor) -> Forgotten:
        """Return what of the forgetting is missing; an evaluation that fails in the run finds nothing forgotten."""
        try:
            return self.forgetting(predict, max(1, len(self.looks)))
        except DataError:
            if not self.looks:
                raise
            return Forgotten(math.inf)

    def watching(self, work: Predictor, conditions: Conditions) -> Conditions:
        """Return the conditions with the readings among what happens after an update."""

        def guide(progress: Progress, judged: Judged) -> Guidance:
            asked = STEADY
            if self.due(progress):
                with judged():
                    asked = self.look(work, progress)
            return asked if asked.stop or self.landing is None else asked.slowed(self.landing.factor(progress))

        return replace(conditions, guide=guide, average=AVERAGE)

    def due(self, progress: Progress) -> bool:
        """Return whether there is a reading after this update."""
        ends = self.landing is not None and progress.step + 1 == self.landing.end
        return ends or progress.step + 1 in due(progress.total, self.count)

    def look(self, work: Predictor, progress: Progress) -> Guidance:
        """Measure the working model, steer the surgery by what is found, and keep the model if it is the best one."""
        now = agreed(read_safely(work, self.control, self.wish.budget.gauge, progress.step + 1), self.shared)
        if math.isfinite(now.loss):
            self.steer(now)
            self.looks.append(self.noted(work, now))
        else:
            measured = (now.step, now.loss, now.accuracy, now.value)
            self.looks.append(Look(*measured, math.inf, self.rule.tolerance, math.inf))
        self.states[len(self.looks) - 1] = state_of(work.model)
        self.states = {index: state for index, state in self.states.items() if not self.beaten(index)}
        return self.guided(progress)

    def guided(self, progress: Progress) -> Guidance:
        """Return how to go on: land once the request is met, undo a stretch that overran the budget, else go on."""
        newest = self.looks[-1]
        if self.landing is not None and progress.step + 1 >= self.landing.end:
            return Guidance(stop=True)
        if self.landing is None and newest.missing <= 0 and newest.spent <= self.wish.budget.allowed:
            self.landing = Landing.after(progress, SETTLING)
            self.surgery.tolerance.fill_(RECOVERY)
        if newest.spent <= OVERRUN * self.wish.budget.allowed:
            return STEADY
        best = self.best()
        back = 1 + best.chosen if best.kept else 0
        self.surgery.anchor(self.looks[back].loss - self.first.loss)
        return Guidance(rate=SHORTER, weights=self.states[back])

    def steer(self, now: Reading) -> None:
        """Tell the surgery the rise of the loss, and the τ that the budget amounts to by now."""
        budget, rise = self.wish.budget, now.loss - self.first.loss
        self.surgery.anchor(rise)
        if budget.relative is None and not now.failed:
            self.rule = self.rule.observed(rise, budget.spent(self.first, now), budget.allowed)
            if self.landing is None:
                self.surgery.tolerance.fill_(self.rule.tolerance)

    def beaten(self, index: int) -> bool:
        """Return whether a later iterate is as cheap and forgets as much, so that this one is never handed over."""
        mine = self.looks[index]
        later = self.looks[index + 1 :] if index else ()
        return any(max(0.0, it.spent) <= max(0.0, mine.spent) and it.missing <= mine.missing for it in later)

    def best(self) -> Choice:
        """Return the choice among the iterates; the model that was handed in is none of them."""
        candidates = [look.candidate() for look in self.looks[1:]]
        return choose(candidates, self.wish.budget.allowed, self.wish.prefer, self.forgetting.slack)

    def hand_over(self, work: Predictor) -> Spending:
        """Put the best iterate into the working model, and open the certify half.

        Where no iterate is inside the budget it is the model that was handed in, unless forgetting comes first.
        """
        found = self.best()
        back = not found.kept and self.wish.prefer == "budget"
        chosen = 0 if back else 1 + found.chosen
        closed = back or not self.wish.budget.certify
        said = (None, "") if closed else opened(self.wish.budget, self.seen(work), chosen, DELTA)
        work.model.load_state_dict(self.states[chosen])
        reached = False if back else self.looks[chosen].reached
        best = tuple(1 + index for index in frontier([look.candidate() for look in self.looks[1:]]))
        looks = tuple(self.looks)
        asked = self.forgetting.limit, self.forgetting.own
        return Spending(*self.wish, looks, chosen, back or found.kept, reached, best, *said, *asked)

    def seen(self, work: Predictor) -> Callable[[int], Witness]:
        """Return how an iterate is read on the certify half."""

        def witnessed(index: int) -> Witness:
            work.model.load_state_dict(self.states[index])
            return witness(self.wish.budget, work, self.certify)

        return witnessed


def carried_out(
    keeper: Keeper | None, work: Predictor, recipe: Recipe, split: Split, conditions: Conditions
) -> Spending | None:
    """Carry out a recipe, inside a budget if there is one, and return what became of the budget."""
    if keeper is None:
        execute(work, recipe, split, conditions)
        return None
    execute(work, recipe, keeper.split, keeper.watching(work, conditions))
    return keeper.hand_over(work)
