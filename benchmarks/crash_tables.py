"""The tables of the runs that were killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def kills(document: Mapping[str, Any]) -> str:
    """Return what killing came to, case by case."""
    lines = ["| request | kills | of them while saving | runs | identical to the run left alone |"]
    lines += ["| :--- | ---: | ---: | ---: | ---: |"]
    every = [*document["cases"], total(document["cases"])]
    for case in every:
        cells = [case["case"], *(str(case[key]) for key in ("kills", "saving", "runs", "identical"))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def shared_kills(document: Mapping[str, Any]) -> str:
    """Return the same of runs that several processes share, and how it was made."""
    return "\n".join([kills(document), "", f"`{document['command']}`: {document['machine']} each."])


def total(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the sums of all cases."""
    return {
        "case": "all",
        **{key: sum(case[key] for case in cases) for key in ("kills", "saving", "runs", "identical")},
    }


def costs(document: Mapping[str, Any]) -> str:
    """Return what a savepoint takes, by the size of the model."""
    lines = ["| weights | MB | seconds to save | to read | share of the run at the default |"]
    lines += ["| ---: | ---: | ---: | ---: | ---: |"]
    for row in document["costs"]:
        share = row["seconds"] / (max(60.0, row["seconds"] / 0.02) + row["seconds"])
        sizes = [f"{row['weights'] / 1e6:.3g} M", f"{row['bytes'] / 1e6:.3g}"]
        times = [f"{row['seconds']:.3g}", f"{row['read']:.3g}", f"{share:.1%}"]
        lines.append(f"| {' | '.join([*sizes, *times])} |")
    return "\n".join([*lines, "", f"`{document['command']}`: {document['machine']}."])


CRASH_TABLES: tuple[Callable[[Mapping[str, Any]], str], ...] = (kills, costs)


def soak(document: Mapping[str, Any]) -> str:
    """Return what random streams of requests did, and how deleted rows stood beside held-out ones at their ends."""
    lines = ["| commands | times |", "| :--- | ---: |"]
    lines += [f"| {action} | {count} |" for action, count in document["actions"].items()]
    lines += ["", "| deleted | requests | mean z | combined z |", "| :--- | ---: | ---: | ---: |"]
    for kind, memory in document["memory"].items():
        lines.append(f"| {kind} | {memory['requests']} | {memory['mean_z']:.2f} | {memory['combined_z']:.2f} |")
    streams, problems = document["streams"], document["problems"]
    verdict = "no check failed" if not problems else "failed checks: " + "; ".join(problems)
    lines += ["", f"{streams} streams in {document['minutes']} minutes: {verdict}."]
    return "\n".join([*lines, "", f"`{document['command']}`: {document['machine']}."])
