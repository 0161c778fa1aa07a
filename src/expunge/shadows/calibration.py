"""Which way of training is faster on this machine: all at once or one by one, measured on a few updates."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn

from expunge.errors import DataError, ModelError
from expunge.shadows.lesson import Lesson
from expunge.shadows.plan import Shadow
from expunge.shadows.together import TrainingTogether
from expunge.tasks.classification.training import own_randomness

Way = Literal["together", "loop"]
ROUNDS = 5
"""Measured rounds, after one that is not counted."""
UPDATES = 2
"""Updates of every model in a round."""
MARGIN = 1.05
"""How many times faster than the loop training at once has to come out to be chosen."""


@dataclass(frozen=True)
class Calibration:
    """What was measured, and what follows.

    Args:
        way: ``together`` or ``loop``.
        together: Seconds of one update of every model, all at once; None where that cannot be done.
        loop: Seconds of one update of every model, one by one; None where it was not measured.
        models: How many models.
        ratio: How many times faster training at once is, the median over rounds; None where one was not measured. In a
            round both ways meet the same load of the machine, which the medians of their times need not.
        reason: Why training at once cannot be done; empty where it can.
    """

    way: Way
    together: float | None
    loop: float | None
    models: int
    ratio: float | None = None
    reason: str = ""

    def document(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def calibrate(models: Sequence[nn.Module], shadows: Sequence[Shadow], lesson: Lesson) -> Calibration:
    """Return which way is faster for these models, from a few updates of copies of them, measured in turns.

    Args:
        models: The networks; they stay as they are.
        shadows: Which of the examples and which seed, model for model.
        lesson: What they learn, and how.
    """
    few = [Shadow(shadow.positions[: UPDATES * lesson.settings.batch], shadow.seed) for shadow in shadows]
    with own_randomness(lesson.settings.seed, next(models[0].parameters()).device):
        try:
            together = TrainingTogether(copy.deepcopy(list(models)), few, lesson)
            together.epoch(1)
        except (DataError, ModelError) as error:
            return Calibration("loop", None, None, len(models), reason=str(error))
        loop = Loop(copy.deepcopy(list(models)), few, lesson)
        loop.epoch(1)
        rounds = [(timed(together.epoch, 1), timed(loop.epoch, 1)) for _ in range(ROUNDS)]
    at_once, alone = (statistics.median(times) / together.parts for times in zip(*rounds, strict=True))
    ratio = statistics.median(one / all_ for all_, one in rounds)
    return Calibration("together" if ratio > MARGIN else "loop", at_once, alone, len(models), ratio)


class Loop:
    """The same training one by one, as ``fit`` does it."""

    def __init__(self, models: Sequence[nn.Module], shadows: Sequence[Shadow], lesson: Lesson) -> None:
        pairs = zip(models, shadows, strict=True)
        self.runs = [lesson.alone(model, shadow, next(model.parameters()).device) for model, shadow in pairs]

    def epoch(self, epoch: int) -> None:
        """Make one pass with every model."""
        for run in self.runs:
            run.epoch(epoch)


def timed(function: Callable[[int], Any], argument: int) -> float:
    """Return the seconds of a call, with what the device still has to do."""
    synchronise()
    began = time.perf_counter()
    function(argument)
    synchronise()
    return time.perf_counter() - began


def synchronise() -> None:
    """Wait for an accelerator, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
