"""The figures as tables of at most 80 columns; plain text where the output is not a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 80


def show(document: Mapping[str, Any], console: Console) -> None:
    """Print two tables per network, of surgeries and of masks."""
    for network in document["networks"].values():
        width = min(WIDTH, console.width)
        console.print(Text(heading(document, network), style="bold"), width=width)
        ways = network["floor"]["ways"]
        rows = [(cells(name, row), name in ways) for name, row in network["candidates"].items()]
        heads = ("one update", "ms", "ratio", "quartiles", "aim", "MB", "above")
        console.print(grid(heads, rows, console), width=width)
        console.print(Text(caption(document, network), style="dim"), width=width)
        if network["masks"]:
            rows = [(mask_cells(name, row), False) for name, row in network["masks"].items()]
            heads = ("under a mask", "ms", "ratio", "quartiles", "aim", "above", "bf16")
            console.print()
            console.print(grid(heads, rows, console), width=width)
            console.print(Text(mask_caption(network), style="dim"), width=width)
        console.print()


def grid(heads: Sequence[str], rows: Iterable[tuple[list[str], bool]], console: Console) -> Table:
    """Return a table; rows that are marked are dim."""
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False, padding=(0, 1))
    table.add_column(heads[0], no_wrap=True)
    for head in heads[1:]:
        table.add_column(head, justify="right", no_wrap=True)
    for row, dim in rows:
        table.add_row(*(Text(cell, style="dim" if dim else "") for cell in row))
    return table


def heading(document: Mapping[str, Any], network: Mapping[str, Any]) -> str:
    """Return what the figures belong to: network, batch, policy, device, threads."""
    forget, retain = network["batch"]
    threads = f", {document['threads']} thread{'s' * (document['threads'] > 1)}"
    where = document["device"] + (threads if document["device"] == "cpu" else "")
    return f"{network['title']}, batch {forget} + {retain}, normalisation {document['policy']}, {where}"


def cells(name: str, row: Mapping[str, Any]) -> list[str]:
    """Return the cells of one surgery."""
    memory = row["memory"]
    peak = "–" if memory is None else f"{memory['peak_bytes'] / 1e6:.1f}"
    return [*time_cells(name, row), peak, above(memory)]


def mask_cells(name: str, row: Mapping[str, Any]) -> list[str]:
    """Return the cells of one masked surgery."""
    return [*time_cells(name, row), above(row["memory"]), above(row["memory_bf16"])]


def time_cells(name: str, row: Mapping[str, Any]) -> list[str]:
    """Return name, milliseconds, ratio, quartiles and aim."""
    ratio, aim = row["ratio"], row["aim"]
    verdict = "" if aim is None else f"≤{aim['at_most']:.2f} {'met' if aim['met'] else 'missed'}"
    quartiles = f"{ratio['low']:.3f}–{ratio['high']:.3f}"
    return [name, f"{1e3 * row['seconds']['median']:.4g}", f"{ratio['median']:.3f}", quartiles, verdict]


def above(memory: Mapping[str, Any] | None) -> str:
    """Return how far a peak lies above what it is compared with, in units of the parameters' bytes."""
    value = memory and memory.get("above_floor_in_parameters", memory.get("above_base_in_parameters"))
    return "–" if value is None else f"{value:+.2f} P"


def caption(document: Mapping[str, Any], network: Mapping[str, Any]) -> str:
    """Return the sentences that name the floors and what was counted."""
    sentences = ["Quick: these figures mean nothing."] if document["quick"] else []
    sentences.append(network["floor"]["sentence"])
    sentences.append(
        f"Ratio: median over {document['rounds']} rounds of the time over the floor's in the same round, fewer for "
        f"slow rules. MB: peak memory of an update beside model and batches; above: over the floor's, "
        f"1 P = the parameters' bytes, {network['parameter_bytes'] / 1e6:.2f} MB."
    )
    if network["floor"]["memory"] is not None and not network["parameters_resolved"]:
        sentences.append("That is less than the resident set of a process can tell (about 0.5 MB).")
    sentences += [f"{name} is not installed: {cure}." for name, cure in network["not_installed"].items()]
    return " ".join([*sentences, *memory_aims(network["candidates"], "memory", "floor")])


def mask_caption(network: Mapping[str, Any]) -> str:
    """Return the sentences that say what masks are compared with, and what the certificate costs."""
    sentences = [
        "Ratio: mean time over ten updates, among which is one look at a further batch, over that of the surgery "
        "without a mask; above: peak memory over that surgery's, with the mask's memory in float32 and in bfloat16. "
        "The first update, which looks at several further batches, is not among them."
    ]
    sentences += [certificate_sentence(row) for row in network["masks"].values() if "certificate" in row]
    sentences += memory_aims(network["masks"], "memory", "base")
    sentences += memory_aims(network["masks"], "memory_bf16", "base", " in bfloat16")
    return " ".join(sentences)


def certificate_sentence(row: Mapping[str, Any]) -> str:
    """Return what the certificate costs for itself."""
    found = row["certificate"]
    return (
        f"The certificate alone takes {1e3 * found['seconds']['median']:.4g} ms of each update that it tests, "
        f"{found['over_base']['median']:.2f} times the update of {row['base']} without a mask and "
        f"{found['share']['median']:.0%} of the certified update."
    )


def memory_aims(rows: Mapping[str, Any], key: str, than: str, how: str = "") -> list[str]:
    """Return for each row with an aim of its memory whether it is met."""
    found = [(name, row[key]["aim"]) for name, row in rows.items() if row[key] and row[key]["aim"]]
    return [
        f"Aim for the peak of {name}{how}: at most {aim['at_most']} P above the {than}'s, "
        f"{'met' if aim['met'] else 'missed'}."
        for name, aim in found
    ]
