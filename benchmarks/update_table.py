"""The figures as tables of at most 80 columns; plain text where the output is not a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 80


def show(document: Mapping[str, Any], console: Console) -> None:
    """Print one table per network."""
    for network in document["networks"].values():
        width = min(WIDTH, console.width)
        console.print(Text(heading(document, network), style="bold"), width=width)
        console.print(grid(network, console), width=width)
        console.print(Text(caption(document, network), style="dim"), width=width)
        console.print()


def grid(network: Mapping[str, Any], console: Console) -> Table:
    """Return the table of one network."""
    table = Table(
        box=box.SIMPLE_HEAD if console.is_terminal else None,
        pad_edge=False,
        padding=(0, 1),
    )
    table.add_column("one update", no_wrap=True)
    for head in ("ms", "ratio", "quartiles", "aim", "MB", "above"):
        table.add_column(head, justify="right", no_wrap=True)
    for name, row in network["candidates"].items():
        style = "dim" if name in network["floor"]["ways"] else ""
        table.add_row(*(Text(cell, style=style) for cell in cells(name, row)))
    return table


def heading(document: Mapping[str, Any], network: Mapping[str, Any]) -> str:
    """Return what the figures belong to: network, batch, policy, device, threads."""
    forget, retain = network["batch"]
    threads = f", {document['threads']} thread{'s' * (document['threads'] > 1)}"
    where = document["device"] + (threads if document["device"] == "cpu" else "")
    return f"{network['title']}, batch {forget} + {retain}, normalisation {document['policy']}, {where}"


def cells(name: str, row: Mapping[str, Any]) -> list[str]:
    """Return the cells of one candidate."""
    ratio, memory, aim = row["ratio"], row["memory"], row["aim"]
    verdict = "" if aim is None else f"≤{aim['at_most']:.2f} {'met' if aim['met'] else 'missed'}"
    peak = above = "–"
    if memory is not None:
        peak = f"{memory['peak_bytes'] / 1e6:.1f}"
        if memory["above_floor_in_parameters"] is not None:
            above = f"{memory['above_floor_in_parameters']:+.2f} P"
    return [
        name,
        f"{1e3 * row['seconds']['median']:.4g}",
        f"{ratio['median']:.3f}",
        f"{ratio['low']:.3f}–{ratio['high']:.3f}",
        verdict,
        peak,
        above,
    ]


def caption(document: Mapping[str, Any], network: Mapping[str, Any]) -> str:
    """Return the sentences that name the floors and what was counted."""
    sentences = ["Quick: these figures mean nothing."] if document["quick"] else []
    sentences.append(network["floor"]["sentence"])
    sentences.append(
        f"Ratio: median over {document['rounds']} rounds of the time over the floor's in the same round. "
        f"MB: peak memory of an update beside model and batches; above: over the floor's, "
        f"1 P = the parameters' bytes, {network['parameter_bytes'] / 1e6:.2f} MB."
    )
    if network["floor"]["memory"] is not None and not network["parameters_resolved"]:
        sentences.append("That is less than the resident set of a process can tell (about 0.5 MB).")
    for name, row in network["candidates"].items():
        aim = None if row["memory"] is None else row["memory"]["aim"]
        if aim is not None:
            verdict = "met" if aim["met"] else "missed"
            sentences.append(f"Aim for the peak of {name}: at most {aim['at_most']} P above the floor's, {verdict}.")
    return " ".join(sentences)
