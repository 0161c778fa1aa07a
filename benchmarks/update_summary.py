"""What is published of one network's measurements: ratios, aims, and memory in units of the parameters' bytes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from update_candidates import BF16, REFRESH, WAYS, base_of, in_bf16, mask_of
from update_memory import RESOLVED, leanest
from update_timing import Seconds, cheapest, ratios, spread
from update_workload import NETWORKS, Workload

AIMS = {"weighted_sum": 1.03, "eupmu_fast": 1.05, "projection": 1.08, "eupmu": 1.25, "lur": 1.60}
"""Surgery → time of one update, as a multiple of the floor; on the CPU with frozen statistics."""
MEMORY_AIMS = {"projection": 1.1}
"""Surgery → peak memory above the floor's, in units of the parameters' bytes."""
MASK_AIMS = {"keep_unless_harmful": 1.15, "keep_if_harmless": 1.15}
"""Mask → time of one update, a mean over K, as a multiple of its base's."""
MASK_MEMORY_AIMS = {"keep_unless_harmful": 3.2, "keep_if_harmless": 3.2}
"""Mask → peak memory above its base's, in units of the parameters' bytes."""
MASK_BF16_AIMS = {"keep_unless_harmful": 2.2, "keep_if_harmless": 2.2}
"""The same with the mask's memory in bfloat16."""
CERTIFIED, PLAIN = "weighted_sum + sequential_test", "weighted_sum + keep_unless_harmful"
"""A certificate around the default feasible mask, and that mask alone."""

Peaks = Mapping[str, list[int]]


def summary(work: Workload, surgeries: Seconds, masks: Seconds, found: Peaks | None, run: str) -> dict[str, Any]:
    """Return one network's figures.

    Args:
        work: What was measured on.
        surgeries: Seconds of the ways of plain fine-tuning and of surgeries.
        masks: Seconds of masked updates and of their bases; may be empty.
        found: Peaks of all of them, or None where there are none.
        run: The name of this run.
    """
    ways, size = WAYS[work.policy], work.parameter_bytes()
    floor, lean = cheapest(surgeries, ways), leanest(found, ways) if found else None
    judged = (work.policy, work.device) == ("frozen", "cpu")
    resolved = size >= RESOLVED or work.device != "cpu"
    unit = float(size) if resolved else None
    made = {name: surgery_row(name, surgeries, floor, found, lean, unit, judged) for name in surgeries}
    under = {name: mask_row(name, masks, found, unit, judged) for name in masks if " + " in name}
    return {
        "title": NETWORKS[work.network].title,
        "batch": [work.batch, work.batch],
        "input": list(work.forget[0].shape[1:]),
        "updates_per_turn": NETWORKS[work.network].updates,
        "parameter_bytes": size,
        "parameters_resolved": resolved,
        "floor": {
            "ways": list(ways),
            "time": floor,
            "memory": lean,
            "sentence": sentence(surgeries, ways, found, floor, lean),
        },
        "candidates": {name: row | {"run": run} for name, row in made.items()},
        "masks": {name: row | {"run": run} for name, row in under.items()},
    }


def surgery_row(
    name: str, seconds: Seconds, floor: str, found: Peaks | None, lean: str | None, unit: float | None, judged: bool
) -> dict[str, Any]:
    """Return one surgery's figures, relative to plain fine-tuning."""
    row = times(seconds[name], seconds[floor], AIMS.get(name) if judged else None) | {"floor": floor, "memory": None}
    if found and lean:
        row["memory"] = memory(found[name], found[lean], unit, MEMORY_AIMS.get(name), "above_floor_in_parameters")
    return row


def mask_row(name: str, seconds: Seconds, found: Peaks | None, unit: float | None, judged: bool) -> dict[str, Any]:
    """Return the figures of one surgery under a mask, relative to the surgery without it."""
    base, mask = base_of(name), mask_of(name)
    row = times(seconds[name], seconds[base], MASK_AIMS.get(mask) if judged else None)
    row |= {"base": base, "updates_per_round": REFRESH, "memory": None, "memory_bf16": None}
    if found:
        above = "above_base_in_parameters"
        row["memory"] = memory(found[name], found[base], unit, MASK_MEMORY_AIMS.get(mask), above)
        if in_bf16(name):
            row["memory_bf16"] = memory(found[name + BF16], found[base], unit, MASK_BF16_AIMS.get(mask), above)
    if name == CERTIFIED and PLAIN in seconds:
        row["certificate"] = certificate(seconds)
    return row


def certificate(seconds: Seconds) -> dict[str, Any]:
    """Return what a certificate adds to the mask that it is put around, per update of the same blocks."""
    own, inner, base = seconds[CERTIFIED], seconds[PLAIN], seconds[base_of(CERTIFIED)]
    added = {block: value - inner[block] for block, value in own.items() if block in inner}
    return {
        "around": PLAIN,
        "seconds": spread(list(added.values())),
        "over_base": spread(ratios(added, base)),
        "share": spread(ratios(added, own)),
    }


def times(own: Mapping[int, float], base: Mapping[int, float], at_most: float | None) -> dict[str, Any]:
    """Return seconds, their ratio to another's, and whether the aim is met."""
    ratio = spread(ratios(own, base))
    return {
        "ratio": ratio,
        "aim": aim(at_most, ratio["median"]),
        "seconds": spread(list(own.values())),
        "rounds": list(own),
        "seconds_by_round": [round(value, 6) for value in own.values()],
    }


def memory(own: list[int], base: list[int], unit: float | None, at_most: float | None, key: str) -> dict[str, Any]:
    """Return a peak, the highest of some updates, and by how many times the parameters' bytes it lies above another."""
    above = round((max(own) - max(base)) / unit, 4) if unit else None
    return {
        "peak_bytes": max(own),
        key: above,
        "aim": aim(at_most, above) if above is not None else None,
        "bytes_by_update": own,
    }


def aim(at_most: float | None, value: float) -> dict[str, Any] | None:
    """Return an aim and whether it is met; None where there is none."""
    return None if at_most is None else {"at_most": at_most, "met": value <= at_most}


def sentence(seconds: Seconds, ways: tuple[str, ...], found: Peaks | None, floor: str, lean: str | None) -> str:
    """Return which way of plain fine-tuning is the floor, and by how much it won."""
    paired = {way: statistics.median(ratios(seconds[way], seconds[floor])) for way in ways}
    losers = [f"; the {way} way takes {paired[way]:.3f} of it" for way in ways if way != floor]
    words = f"Floor of time: plain fine-tuning, {floor} way{''.join(losers)}."
    if found is None or lean is None:
        return f"{words} Peak memory was not measured."
    losers = [f"; the {way} way {max(found[way]) / 1e6:.1f}" for way in ways if way != lean]
    return f"{words} Floor of memory: {lean} way, {max(found[lean]) / 1e6:.1f} MB{''.join(losers)}."
