"""The tables of the certificate's coverage, from ``certificate_coverage.py``. Not a script: ``pages.py`` calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.2f}"


def lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table of numbers."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---:"] * len(head), *rows))


def coverage(document: Document) -> str:
    """Return how often each bound missed, in percent."""
    head = ["n", "lost", "gained", "drop", "mean exact bound", "misses", "p", "mean score bound", "misses", "p"]
    rows = []
    for row in document["rows"]:
        shares = [percent(row[key]) for key in ("lost", "gained")] + [percent(row["lost"] - row["gained"])]
        exact = [percent(row["bound"]), percent(row["misses"] / row["runs"]), f"{row['p_value']:.3f}"]
        score = [percent(row["approximate_bound"]), percent(row["approximate_misses"] / row["runs"])]
        rows.append([str(row["examples"]), *shares, *exact, *score, f"{row['approximate_p_value']:.3f}"])
    return lines(head, rows)


def over_a_stream(document: Document) -> str:
    """Return how often a stream of requests had a wrong certificate."""
    row = document["stream"]
    cells = [str(row["requests"]), str(row["examples"]), percent(row["misses"] / row["runs"]), f"{row['p_value']:.3f}"]
    return lines(["requests", "fresh examples each", "streams with a miss", "p"], [cells])


def smallest(document: Document) -> str:
    """Return the smallest drop by number of examples."""
    rows = [[n, percent(value)] for n, value in document["smallest"].items()]
    return lines(["n", "smallest drop that can be certified, points"], rows)


CERTIFICATE_TABLES: tuple[Callable[[Document], str], ...] = (coverage, over_a_stream, smallest)
