"""One file from several runs: a run of some candidates replaces their rows and leaves the others as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SAME = ("device", "policy", "threads", "cpu", "quick")
"""What must be the same for rows to stand in one table."""


def refuse(old: dict[str, Any], new: dict[str, Any], batches: Mapping[str, int]) -> None:
    """Refuse to put rows into one table that were measured under different conditions.

    Args:
        old: The file.
        new: The conditions of the run.
        batches: Network → examples on each side, of the run.

    Raises:
        ValueError: If they differ.
    """
    pairs = [(name, old[name], new[name]) for name in SAME]
    pairs += [
        (f"batches of {key}", old["networks"][key]["batch"], [n, n])
        for key, n in batches.items()
        if key in old["networks"]
    ]
    for name, was, now in pairs:
        if was != now:
            raise ValueError(f"expected {name} {was!r}, as in the file, but found {now!r}: use another --json")


def merged(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """Return a file with the rows of both, the new ones where both have some; each row names its run."""
    if old is None:
        return new
    old = adopted(old)
    networks = dict(old["networks"])
    for name, network in new["networks"].items():
        networks[name] = joined(networks[name], network) if name in networks else network
    used = {row["run"] for network in networks.values() for row in rows(network)}
    runs = {name: run for name, run in (old["runs"] | new["runs"]).items() if name in used}
    return new | {"runs": runs, "networks": networks}


def joined(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return a network's entry with the rows of both; a run of everything leaves none of the old.

    The floor and its rows are the old ones' unless a run of everything has replaced them: each ratio is to the floor of
    its own run.
    """
    if new["complete"]:
        return new
    ways = {way: old["candidates"][way] for way in new["floor"]["ways"]}
    floor = {"floor": old["floor"], "complete": old["complete"]}
    candidates = old["candidates"] | new["candidates"] | ways
    return new | floor | {"candidates": candidates, "masks": old["masks"] | new["masks"]}


def adopted(old: dict[str, Any]) -> dict[str, Any]:
    """Return a file from before rows named their run as if they did; its one masked row was relative to the floor."""
    if "runs" in old:
        return old
    name = f"{old['date']} (everything)"
    run = {key: old[key] for key in ("date", "versions", "rounds", "allocator")} | {"command": "make bench"}
    networks = {}
    for key, network in old["networks"].items():
        found = {name_: row | {"run": name} for name_, row in network["candidates"].items() if " + " not in name_}
        networks[key] = network | {"candidates": found, "masks": {}, "not_installed": {}, "complete": True}
    return old | {"runs": {name: run}, "networks": networks}


def rows(network: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all rows of a network."""
    return [*network["candidates"].values(), *network["masks"].values()]
