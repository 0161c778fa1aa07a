"""Time of one update: all candidates in one process, by turns, in a new random order every round.

What an update costs is a mean over a block of rounds. Surgeries cost the same at every update and a block is one
round; a mask that looks at a further batch every K-th update needs a block of K updates. A slow candidate takes part in
every second, third … block only; its ratios are to the floor's time in the same blocks.

The C library's allocator is told to keep what it has (``STEADY``). Left to itself it gives the top of the heap back to
the system after one pass and fetches it again for the next, or does not, by the chance of what lies above: on some
machines that is a tenth of an update of ResNet-18, for plain fine-tuning as for everything else.
"""

from __future__ import annotations

import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from update_candidates import REFRESH, Update

Seconds = dict[str, dict[int, float]]
"""Candidate → block → mean seconds of an update."""

STEADY = {"MALLOC_TRIM_THRESHOLD_": str(2**33), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
"""Give nothing back below 8 GiB; take blocks up to 32 MiB, the most that it allows, from the heap."""
COSTS = {
    "robust_projection": 11.0,
    "lur": 1.6,
    "weighted_sum + sequential_test": 6.0,
    "weighted_sum + sign_agreement": 2.2,
    "weighted_sum + knapsack": 1.8,
    "weighted_sum + probabilistic_agreement": 1.4,
}
"""About how many floors one update costs, to repeat slow ones less often."""
USUAL = 1.15
SLOW = 2.5
"""Floors from which on a candidate is repeated less often."""


@dataclass(frozen=True)
class Plan:
    """How often everything is timed.

    Args:
        updates: In one turn.
        rounds: In one block.
        blocks: That count.
        warm_up: Rounds before them.
    """

    updates: int
    rounds: int
    blocks: int
    warm_up: int


def for_surgeries(updates: int, blocks: int, warm_up: int) -> Plan:
    """Return the plan in which a round is a block."""
    return Plan(updates, 1, blocks, warm_up)


def for_masks(updates: int, blocks: int, warm_up: int) -> Plan:
    """Return the plan in which a block is K updates of a candidate.

    Examples:
        >>> for_masks(1, 3, 2)
        Plan(updates=1, rounds=10, blocks=3, warm_up=2)
        >>> for_masks(10, 3, 2).rounds
        1
    """
    return Plan(updates, -(-REFRESH // updates), blocks, warm_up)


def takes_part(name: str, block: int) -> bool:
    """Return whether a candidate is timed in a block: a slow one less often, but all in the first."""
    return block % max(1, round(COSTS.get(name, USUAL) / SLOW)) == 0


def timed(updates: Mapping[str, Update], plan: Plan, device: str, tick: Callable[[], None]) -> Seconds:
    """Return each candidate's seconds per update by block; warm-up rounds are left out."""
    order = random.Random(0)
    seconds: Seconds = {name: {} for name in updates}
    for done in range(-plan.warm_up, plan.rounds * plan.blocks):
        block = done // plan.rounds
        for name in order.sample(list(updates), len(updates)):
            if done < 0:
                turn(updates[name], plan.updates, device)
            elif takes_part(name, block):
                taken = turn(updates[name], plan.updates, device) / plan.rounds
                seconds[name][block] = seconds[name].get(block, 0.0) + taken
        tick()
    return seconds


def turn(update: Update, count: int, device: str) -> float:
    """Return the mean seconds of several updates in a row."""
    synchronise(device)
    began = time.perf_counter()
    for _ in range(count):
        update()
    synchronise(device)
    return (time.perf_counter() - began) / count


def synchronise(device: str) -> None:
    """Wait for an accelerator."""
    if torch.device(device).type != "cpu":
        torch.get_device_module(torch.device(device)).synchronize()


def cheapest(seconds: Seconds, ways: Sequence[str]) -> str:
    """Return the way to write plain fine-tuning with the lower median."""
    return min(ways, key=lambda way: statistics.median(seconds[way].values()))


def ratios(own: Mapping[int, float], base: Mapping[int, float]) -> list[float]:
    """Return a candidate's seconds over another's in the same blocks."""
    return [value / base[block] for block, value in own.items() if block in base]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the quartiles.

    Examples:
        >>> spread([1.0, 2.0, 3.0, 4.0, 5.0])
        {'median': 3.0, 'low': 2.0, 'high': 4.0}
    """
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    return {"median": round(middle, 6), "low": round(low, 6), "high": round(high, 6)}


def steady() -> None:
    """Begin this command anew with an allocator that keeps what it has, where there is one to tell."""
    if platform.libc_ver()[0] == "glibc" and not any(name in os.environ for name in STEADY):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **STEADY})


def allocator() -> dict[str, str] | str:
    """Return how the allocator was told to behave while times were taken."""
    return {name: os.environ[name] for name in STEADY if name in os.environ} or "as the system has it"
