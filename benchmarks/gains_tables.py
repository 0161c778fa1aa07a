"""The tables of the page on the controller's gains, from the result of ``gains.py``.

Not a script: ``claim_tables.py`` calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from counterfactual_tables import figure, written

Document = Mapping[str, Any]
REQUEST = {"class": "one class", "random": "random 10 %"}
FIGURES = {
    "worst": "worst reading",
    "spent": "spent (control)",
    "true_drop": "drop on test",
    "retain_drop": "drop on retained",
    "missing": "% missing",
}


def by_gains(document: Document) -> str:
    """Return what each pair of gains came to, at the λ_min of the method."""
    return listed([row for row in document["rows"] if row["lowest"] == 0.3], ("proportional", "integral"), document)


def by_lowest(document: Document) -> str:
    """Return what each λ_min came to, at the default gains."""
    rows = [row for row in document["rows"] if (row["proportional"], row["integral"]) == (10.0, 0.2)]
    return listed(sorted(rows, key=lambda row: (row["kind"], row["lowest"])), ("lowest",), document)


def listed(rows: list[Any], settings: tuple[str, ...], document: Document) -> str:
    """Return rows of figures with the settings that are varied."""
    names = {"proportional": "K_p", "integral": "K_i", "lowest": "λ_min"}
    table = [["request", *(names[one] for one in settings), "rate", *FIGURES.values()]]
    for row in rows:
        varied = [f"{row[one]:g}" for one in (*settings, "rate")]
        table.append([REQUEST[row["kind"]], *varied, *(figure(row[name]) for name in FIGURES)])
    return f"{written(table, 1)}\n\n{len(document['seeds'])} seeds, ± half a 95 % t-interval; points but for the share."


def closed_form(document: Document) -> str:
    """Return what the characteristic polynomial says of each pair of gains."""
    table = [["K_p", "K_i", "stable up to rate × curvature", f"half-life at {document['step']:g}, updates"]]
    for row in document["quadratic"]:
        largest = "never" if row["largest"] is None else "2, as plain descent" if row["largest"] >= 2 else ""
        half_life = "never" if row["half_life"] is None else f"{row['half_life']:.0f}"
        table.append(
            [f"{row['proportional']:g}", f"{row['integral']:g}", largest or f"{row['largest']:.2f}", half_life]
        )
    return written(table, 0)


GAINS_TABLES = (by_gains, by_lowest, closed_form)
