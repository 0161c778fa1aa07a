"""The tables of the throughput page.

Not a script: ``pages.py`` calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

AIM = {"training": 1.03, "unlearning": 1.03}
"""Time of our loop over the bare one, on ResNet-18."""


def ratio(found: Mapping[str, float]) -> str:
    """Return a median with its quartiles."""
    return f"{found['median']:.3f} ({found['low']:.3f}–{found['high']:.3f})"


def loops(document: Mapping[str, Any]) -> str:
    """Return images per second of our loops and the bare one, and the time of ours over it."""
    lines = ["| network | loop | batch | images/s, bare | images/s, ours | time over bare (quartiles) | aim |"]
    lines += ["| :--- | :--- | ---: | ---: | ---: | ---: | ---: |"]
    for kind, networks in document["loops"].items():
        for name, found in networks.items():
            rates = [f"{found['images_per_second'][who]['median']:.1f}" for who in ("bare", "ours")]
            aim = f"≤ {AIM[kind]:.2f}" if name == "resnet18" else ""
            sizes = " + ".join(map(str, found["batch"]))
            lines.append(row([found["title"], kind, sizes, *rates, ratio(found["time_over_bare"]["ours"]), aim]))
    return "\n".join([*lines, "", told(document)])


def layout(document: Mapping[str, Any]) -> str:
    """Return the time of the bare loop with channels last over that without."""
    lines = ["| network | batch | channels last over contiguous (quartiles) |", "| :--- | ---: | ---: |"]
    for found in document["loops"]["training"].values():
        cells = [found["title"], str(found["batch"][0]), ratio(found["time_over_bare"]["bare, channels last"])]
        lines.append(row(cells))
    return "\n".join(lines)


def parts(document: Mapping[str, Any]) -> str:
    """Return where a run's time goes."""
    run = document["run"]
    return shared_out(f"{run['model']}, {run['subset']} images", run["parts"])


def demo_parts(document: Mapping[str, Any]) -> str:
    """Return where the demo's time goes."""
    about = f"{document['seeds']} seeds, {document['seconds']:.0f} s"
    versions = document["versions"]
    told = f"`{document['command']}`: {document['machine']}, 1 thread, torch {versions['torch']}, processor seconds."
    return f"{shared_out(about, document['parts'])}\n\n{told}"


def shared_out(about: str, parts: Mapping[str, Mapping[str, float]]) -> str:
    """Return the seconds and the share of each part."""
    lines = [f"| part ({about}) | seconds | share |", "| :--- | ---: | ---: |"]
    for name, found in parts.items():
        lines.append(row([name, f"{found['seconds']:.1f}", f"{found['share']:.1%}"]))
    return "\n".join(lines)


def row(cells: list[str]) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"


def told(document: Mapping[str, Any]) -> str:
    """Return the command and the machine."""
    threads = f"{document['threads']} thread{'s' * (document['threads'] > 1)}"
    rounds = sorted({found["rounds"] for found in document["loops"]["training"].values()})
    many = f"{rounds[0]} to {rounds[-1]} rounds" if len(rounds) > 1 else f"{rounds[0]} rounds"
    where = document["accelerator"] or f"{document['machine']}, {threads}"
    return f"`{document['command']}`: {where}, torch {document['versions']['torch']}, {document['clock']}, {many}."


THROUGHPUT_TABLES: tuple[Callable[[Mapping[str, Any]], str], ...] = (loops, layout, parts)
DEMO_TABLES: tuple[Callable[[Mapping[str, Any]], str], ...] = (demo_parts,)
