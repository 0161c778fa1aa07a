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


def of_values(document: Document) -> str:
    """Return how often the exact bound of values of known range missed, with that of counts where there is one."""
    head = ["n", "values", "drop", "betting bound", "bound of the counts", "misses", "p"]
    rows = [
        [str(row["examples"]), row["what"], percent(row["drop"]), percent(row["bound"]), counted(row), *missed(row)]
        for row in document["bounded"]
    ]
    return lines(head, rows)


def counted(row: Document) -> str:
    """Return the bound after Clopper and Pearson, where values are 0 or 1."""
    return "–" if row["counted"] is None else percent(row["counted"])


def missed(row: Document) -> list[str]:
    """Return the share of misses and its p."""
    return [percent(row["misses"] / row["runs"]), f"{row['p_value']:.3f}"]


def of_losses(document: Document) -> str:
    """Return how often the paired bootstrap missed."""
    rows = [
        [str(row["examples"]), row["what"], percent(row["drop"]), percent(row["bound"]), *missed(row)]
        for row in document["losses"]
    ]
    return lines(["n", "losses", "rise", "bound", "misses", "p"], rows)


def of_sets(document: Document) -> str:
    """Return how often the jackknife missed."""
    rows = [
        [str(row["examples"]), row["what"], percent(row["drop"]), percent(row["bound"]), *missed(row), silent(row)]
        for row in document["sets"]
    ]
    return lines(["n", "F1", "drop", "bound", "misses", "p", "says nothing"], rows)


def silent(row: Document) -> str:
    """Return in which share of the runs nothing could be said."""
    return percent(row["silent"] / (row["silent"] + row["runs"]))


def smallest_mean(document: Document) -> str:
    """Return the smallest drop of a mean by number of examples."""
    rows = [[n, percent(value)] for n, value in document["smallest_mean"].items()]
    return lines(["n", "smallest drop that can be certified, % of the range"], rows)


CERTIFICATE_TABLES: tuple[Callable[[Document], str], ...] = (
    coverage,
    over_a_stream,
    smallest,
    of_values,
    of_losses,
    of_sets,
    smallest_mean,
)
