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

from expunge.batch import device_of
from expunge.errors import DataError, ModelError
from expunge.shadows.config import ShadowTrainingConfig
from expunge.shadows.plan import Shadow
from expunge.shadows.stacked import StackedTrainer
from expunge.tasks.classification.training import isolated_randomness

Strategy = Literal["together", "loop"]
ROUNDS = 5
"""Measured rounds, after one that is not counted."""
STEPS_PER_ROUND = 2
"""Updates of every model in a round."""
MIN_SPEEDUP = 1.05
"""How many times faster than the loop training at once has to come out to be chosen."""


@dataclass(frozen=True)
class SpeedTest:
    """What was measured, and what follows.

    Args:
        strategy: ``together`` or ``loop``.
        together: Seconds of one update of every model, all at once; None where that cannot be done.
        loop: Seconds of one update of every model, one by one; None where it was not measured.
        models: How many models.
        ratio: How many times faster training at once is, the median over rounds; None where one was not measured. In a
            round both ways meet the same load of the machine, which the medians of their times need not.
        reason: Why training at once cannot be done; empty where it can.
    """

    strategy: Strategy
    together: float | None
    loop: float | None
    models: int
    ratio: float | None = None
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def measure_speed(models: Sequence[nn.Module], shadows: Sequence[Shadow], config: ShadowTrainingConfig) -> SpeedTest:
    """Return which way is faster for these models, from a few updates of copies of them, measured in turns.

    Args:
        models: The networks; they stay as they are.
        shadows: Which of the examples and which seed, model for model.
        config: What they learn, and how.
    """
    short_shadows = [
        Shadow(shadow.positions[: STEPS_PER_ROUND * config.settings.batch_size], shadow.seed) for shadow in shadows
    ]
    with isolated_randomness(config.settings.seed, device_of(models[0])):
        try:
            stacked = StackedTrainer(copy.deepcopy(list(models)), short_shadows, config)
            stacked.run_epoch(1)
        except (DataError, ModelError) as error:
            return SpeedTest("loop", None, None, len(models), reason=str(error))
        sequential = SequentialTrainer(copy.deepcopy(list(models)), short_shadows, config)
        sequential.run_epoch(1)
        rounds = [
            (measure_seconds(stacked.run_epoch, 1), measure_seconds(sequential.run_epoch, 1)) for _ in range(ROUNDS)
        ]
    stacked_seconds, sequential_seconds = (
        statistics.median(times) / stacked.num_batches for times in zip(*rounds, strict=True)
    )
    ratio = statistics.median(one / all_ for all_, one in rounds)
    return SpeedTest(
        "together" if ratio > MIN_SPEEDUP else "loop", stacked_seconds, sequential_seconds, len(models), ratio
    )


class SequentialTrainer:
    """The same training one by one, as ``fit`` does it."""

    def __init__(self, models: Sequence[nn.Module], shadows: Sequence[Shadow], config: ShadowTrainingConfig) -> None:
        pairs = zip(models, shadows, strict=True)
        self.runs = [config.make_run(model, shadow, device_of(model)) for model, shadow in pairs]

    def run_epoch(self, epoch: int) -> None:
        """Make one pass with every model."""
        for run in self.runs:
            run.run_epoch(epoch)


def measure_seconds(function: Callable[[int], Any], argument: int) -> float:
    """Return the seconds of a call, with what the device still has to do."""
    synchronize()
    start_time = time.perf_counter()
    function(argument)
    synchronize()
    return time.perf_counter() - start_time


def synchronize() -> None:
    """Wait for an accelerator, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
