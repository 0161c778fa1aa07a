"""The tables of ``rank_costs.py`` and ``rank_run.py``; ``pages.py`` calls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GIB, GB = 2**30, 1e9
LARGE, BLOCK, UNITS = 7_000_000_000, 202_000_000, 33
"""A language model on paper: parameters, those of a block, units that are gathered one by one."""
DEVICES = (8, 64)


def grid(head: list[str], rows: list[list[str]]) -> str:
    """Return a table whose first column is text."""
    lines = [head, [":---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def count(found: Mapping[str, float], word: str) -> float:
    """Return how many collectives have a word in their name."""
    return sum(number for name, number in found.items() if word in name)


def passes(row: Mapping[str, Any], units: int) -> tuple[float, float, float]:
    """Return how often an update under ``fully_shard`` gathers and reduces all weights, and its single numbers."""
    found = row["fsdp"]["collectives"]
    gathers = count(found, "all_gather") + count(found, "allgather_base")
    return (
        gathers / units,
        count(found, "reduce_scatter") / units,
        count(found, "allreduce") + count(found, "all_reduce"),
    )


def numbers(row: Mapping[str, Any]) -> float:
    """Return how many collectives of single numbers an update issues under ``DistributedDataParallel``."""
    found = row["ddp"]["collectives"]
    # The hook's own reductions are among them.
    return count(found, "allreduce") - found["gradients"] + count(found, "allgather")


def collective_table(document: Mapping[str, Any]) -> str:
    """Return how many collectives an update of each surgery and mask issues."""
    head = ["one update", "DDP: gradients", "DDP: numbers", "FSDP2: gathers", "FSDP2: reductions", "FSDP2: numbers"]
    rows = []
    for name, row in document["rows"].items():
        found = row["ddp"]["collectives"]["gradients"], numbers(row), *passes(row, document["units"] - 1)
        rows.append([name, *(f"{value:g}" for value in found)])
    return grid(head, rows)


def byte_table(document: Mapping[str, Any]) -> str:
    """Return the bytes per parameter of each surgery and mask."""
    head = ["one update", "alone: rest", "alone: peak", "DDP: rest", "DDP: peak", "FSDP2: rest", "FSDP2: peak"]
    rows = []
    for name, row in document["rows"].items():
        found = (row[how][what] for how in ("alone", "ddp", "fsdp") for what in ("rest", "peak"))
        rows.append([name, *(f"{value:.1f}" for value in found)])
    return grid(head, rows)


def memory_of(row: Mapping[str, Any], devices: int) -> float:
    """Return the bytes of a device for the model on paper."""
    alone = row["alone"]
    return LARGE * (alone["rest"] + alone["peak"]) / devices + 2 * BLOCK * (2 + 4)


def traffic_of(row: Mapping[str, Any], devices: int, units: int) -> float:
    """Return the bytes that a device sends in an update of the model on paper."""
    gathers, reductions, _ = passes(row, units)
    return LARGE * (devices - 1) / devices * (2 * gathers + 4 * reductions)


def plan_table(document: Mapping[str, Any]) -> str:
    """Return memory, traffic and collectives of the model on paper."""
    head = ["one update", *(f"GiB, {n} devices" for n in DEVICES), *(f"GB sent, {n} devices" for n in DEVICES)]
    rows, units = [], document["units"] - 1
    for name, row in document["rows"].items():
        gathers, reductions, single = passes(row, units)
        memory = [f"{memory_of(row, devices) / GIB:.1f}" for devices in DEVICES]
        sent = [f"{traffic_of(row, devices, units) / GB:.0f}" for devices in DEVICES]
        rows.append([name, *memory, *sent, f"{(gathers + reductions) * UNITS + single:.0f}"])
    return grid([*head, "collectives"], rows)


def run_table(document: Mapping[str, Any]) -> str:
    """Return the figures of one request on one process and on two."""
    head = [
        "method",
        "way",
        "UA %",
        "RA %",
        "TA %",
        "largest difference of a weight",
        "RMS difference",
        "RMS move",
        "s",
    ]
    rows = []
    for method, found in document["rows"].items():
        for way, row in found["ways"].items():
            apart = row.get("apart")
            gaps = ["–", "–"] if apart is None else [f"{apart['largest']:.1e}", f"{apart['rms']:.1e}"]
            scores = [f"{row[name]:.2f}" for name in ("ua", "ra", "ta")]
            rows.append([method, way, *scores, *gaps, f"{found['moved']:.1e}", f"{row['seconds']:.0f}"])
    return grid(head, rows)


RANK_TABLES = (collective_table, byte_table, plan_table)
