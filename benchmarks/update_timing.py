"""Time of one update: all candidates in one process, by turns, in a new random order every round."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from update_candidates import NETWORKS, Update, Workload, build, names

Seconds = dict[str, list[float]]


def timed(
    network: str, batch: int, policy: str, device: str, rounds: int, warm_up: int, tick: Callable[[], None]
) -> Seconds:
    """Return each candidate's seconds per update, one number a round; warm-up rounds are left out.

    In a turn a candidate makes ``Network.updates`` updates, so that a small network's caches are as warm as in a loop.
    """
    updates = {name: build(name, Workload(network, batch, policy, device)) for name in names(policy)}
    count, order = NETWORKS[network].updates, random.Random(0)
    seconds: Seconds = {name: [] for name in updates}
    for done in range(warm_up + rounds):
        for name in order.sample(list(updates), len(updates)):
            taken = turn(updates[name], count, device)
            if done >= warm_up:
                seconds[name].append(taken)
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
    return min(ways, key=lambda way: statistics.median(seconds[way]))


def ratios(seconds: Seconds, floor: str) -> dict[str, list[float]]:
    """Return each candidate's seconds over the floor's of the same round."""
    return {name: [a / b for a, b in zip(own, seconds[floor], strict=True)] for name, own in seconds.items()}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the quartiles.

    Examples:
        >>> spread([1.0, 2.0, 3.0, 4.0, 5.0])
        {'median': 3.0, 'low': 2.0, 'high': 4.0}
    """
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    return {"median": round(middle, 6), "low": round(low, 6), "high": round(high, 6)}
