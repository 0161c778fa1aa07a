"""Trials: short runs on a share of the data, judged on control examples."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch

from expunge.api.steering.wish import Halves, Wish
from expunge.api.steering.within import Keeper
from expunge.batch import Examples, Predictor, Split
from expunge.budget import Forgetting, Look, Reading, read, whole_classes
from expunge.budget.forgetting import RECOGNISED, few
from expunge.data import Subset
from expunge.engine import Conditions, execute
from expunge.engine.conditions import ignore
from expunge.errors import MetricError, NotFiniteError
from expunge.forward import copy_model
from expunge.methods import Method
from expunge.metrics import class_weights

NOISE = 1.0
"""Points of distance that trials do not tell apart."""
READ = 2_000
"""Examples of each kind that a trial is judged on, at most."""
UPDATES = 24
"""Updates of a trial, at least."""
LOOKS = 2
"""Control readings of a trial, at most."""
FEWEST = 512
"""Examples of a share, of the forgotten and of the retained ones, at least: fewer tell no rate from another."""


class Trial(NamedTuple):
    """What a short run came to.

    Args:
        rate: Learning rate.
        rise: Of the held-out loss, in nats; infinite where the run diverged.
        spent: In the budget's own unit.
        recognised: Share of the forgotten classes that is still recognised beyond what is permitted.
        distance: |Δ train accuracy| + |Δ control accuracy| + |accuracy on forgotten single examples − the original's
            on control examples, weighted to the same classes| + 100 |AUC − ½| of telling these apart within classes,
            in points; for whole classes what the control accuracy lost.
        updates: That were made.
        seconds: That they took, readings included.
        pace: Seconds of one update, readings apart; of a run that diverged, of all of it.
        reading: Seconds of looking at one example.
    """

    rate: float
    rise: float
    spent: float = math.inf
    recognised: float = math.inf
    distance: float = math.inf
    updates: int = 1
    seconds: float = 0.0
    pace: float = 0.0
    reading: float = 0.0

    def badness(self, allowed: float) -> tuple[bool, float, float]:
        """Return what is to be least: budgets that are broken, then recognition, then distance."""
        return not self.spent <= allowed, self.recognised, self.distance

    def as_good_as(self, best: Trial) -> bool:
        """Return whether it is within the noise of the best one, so that the smaller rate is to be preferred.

        A trial is shorter than the run, which flatters large rates.
        """
        return self.recognised <= best.recognised and self.distance <= best.distance + NOISE

    def plain(self) -> dict[str, Any]:
        """Return it as plain values; what is not finite is None, as JSON has no NaN."""
        return {name: value if math.isfinite(value) else None for name, value in self._asdict().items()}


@dataclass(frozen=True)
class Trials:
    """Runs candidates on a share of the data.

    Args:
        wish: The budget.
        original: The model as it was handed in.
        split: The examples of the share.
        control: Held-out examples of the classes that stay.
        conditions: Of the run.
    """

    wish: Wish
    original: Predictor
    split: Split
    control: Examples
    conditions: Conditions

    @cached_property
    def first(self) -> Reading:
        """The original on the control examples."""
        return read(self.original, self.control, self.wish.budget.gauge)

    def on_share(self, share: float) -> Trials:
        """Return the same on a share of the forgotten and of the retained examples, drawn by the run's seed."""
        forget = drawn(self.split.forget, share, FEWEST, self.conditions.seed)
        retain = drawn(self.split.retain, share, FEWEST, self.conditions.seed)
        return replace(self, split=replace(self.split, forget=forget, retain=retain))

    def quick(self) -> Trials:
        """Return the same with few control examples and without telling anybody of its updates."""
        quiet = replace(self.conditions, on_step=ignore, on_rows=ignore, observe_every=0, savepoints=None)
        return replace(self, control=drawn(self.control, READ / len(self.control), 0, 0), conditions=quiet)

    def copied(self) -> Predictor:
        """Return a copy of the original to work on."""
        work = copy.copy(self.original)
        work.model = copy_model(self.original.model)
        return work

    def run(self, method: Method) -> Trial:
        """Return what one run over the share comes to, of one pass or ``UPDATES``."""
        method = replace(method, epochs=math.ceil(UPDATES / math.ceil(len(self.split.retain) / method.batch)))
        began = time.perf_counter()
        work, recipe = self.copied(), method.recipe(self.conditions.seed)
        halves = Halves(self.control, self.control)
        read_once = 0.0
        try:
            keeper = Keeper(self.wish, self.original, recipe, self.split, halves, looks=LOOKS)
            read_once = time.perf_counter() - began
            execute(work, recipe, keeper.split, keeper.watching(work, self.conditions))
        except (NotFiniteError, MetricError):
            lost = time.perf_counter() - began
            return Trial(method.rate, math.inf, seconds=lost, pace=lost, reading=(read_once or lost) / self.looked_at)
        look, ran = keeper.looks[-1], time.perf_counter() - began
        pace = max(0.0, ran - (1 + LOOKS) * read_once) / look.step
        judged, rise = self.judged(work, look), look.loss - self.first.loss
        seconds = time.perf_counter() - began
        return Trial(method.rate, rise, look.spent, *judged, look.step, seconds, pace, read_once / self.looked_at)

    @property
    def looked_at(self) -> int:
        """How many examples one look reads."""
        return len(self.control) + Forgetting(self.split, self.control).examples

    def judged(self, work: Predictor, look: Look) -> tuple[float, float]:
        """Return how much of the classes is still recognised, and how far accuracies are from where they should be."""
        beyond = 0.0 if look.recognised is None else max(0.0, look.recognised - RECOGNISED)
        lost = self.control_before - self.right(work, self.control)
        single = few(self.split.forget, sorted({*self.split.forget.targets.tolist()} - {*whole_classes(self.split)}))
        if not len(single):
            return beyond, lost
        moved = self.retain_before - self.right(work, self.split.retain)
        told = 0.0 if look.auc is None else 100 * abs(look.auc - 0.5)
        return beyond, abs(moved) + abs(lost) + abs(self.right(work, single) - self.expected(single)) + told

    def expected(self, single: Examples) -> float:
        """Return the original's accuracy on control examples with the classes of forgotten ones, in percent.

        A request for many examples of a hard class is compared with that class and not with all of them.
        """
        control = drawn(self.control, READ / len(self.control), 0, 0)
        weights = class_weights(single.targets.cpu().numpy(), control.targets.cpu().numpy())[1]
        right = read(self.original, control).right
        return self.control_before if right is None or not weights.any() else 100.0 * float(weights @ right)

    @cached_property
    def control_before(self) -> float:
        """The original's accuracy on the control examples, in percent."""
        return self.right(self.original, self.control)

    @cached_property
    def retain_before(self) -> float:
        """The original's accuracy on the retained examples of the share, in percent."""
        return self.right(self.original, self.split.retain)

    def right(self, predict: Predictor, examples: Examples) -> float:
        """Return the accuracy on some of the examples, in percent."""
        return read(predict, drawn(examples, READ / len(examples), 0, 0)).accuracy or 0.0


def drawn(examples: Examples, share: float, least: int, seed: int) -> Examples:
    """Return a share of the examples, that of every class rounded up; all where the share is 1 or more.

    Args:
        examples: Of which.
        share: How much.
        least: Examples that there should be at least, where there are so many.
        seed: Of the draw.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> few = drawn(TensorExamples(torch.zeros(9, 1), [0] * 8 + [1]), 0.25, 0, seed=0)
        >>> few.targets.tolist()
        [0, 0, 1]
    """
    share = max(share, least / max(1, len(examples)))
    if share >= 1:
        return examples
    generator = torch.Generator().manual_seed(seed)
    kept = []
    for label in examples.targets.unique().tolist():
        at = (examples.targets == label).nonzero().flatten()
        kept.append(at[torch.randperm(len(at), generator=generator)[: math.ceil(share * len(at))]])
    return Subset(examples, torch.cat(kept).sort().values)
