"""The tables of the page of the counterfactual objective, from the result of ``counterfactual.py``.

Not a script: ``claim_tables.py`` calls it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from expunge.metrics import clopper_pearson

Document = Mapping[str, Any]
SHOWN = ("ua", "ra", "ta", "mia", "avg_gap")


def figure(found: Mapping[str, Any]) -> str:
    """Return a mean with half its 95 % interval."""
    half = "" if found["half_width"] is None else f" ± {found['half_width']:.2f}"
    return f"{found['mean']:.2f}{half}"


def counted(hits: int, runs: int) -> str:
    """Return how many of the runs, with the exact interval of the share that this is consistent with."""
    if not runs:
        return "0"
    low, high = clopper_pearson(hits, runs)
    return f"{hits} (95 % interval {100 * low:.1f} to {100 * high:.1f} %)"


def written(rows: Sequence[Sequence[str]], texts: int) -> str:
    """Return a Markdown table whose first ``texts`` columns are text; its first row is its head."""
    marks = [":---"] * texts + ["---:"] * (len(rows[0]) - texts)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (rows[0], marks, *rows[1:]))


def distilled(document: Document) -> str:
    """Return what each objective does."""
    rows = [["objective", "λ", "rate", "UA", "RA", "TA", "MIA", "gap"]]
    rows.append(["do nothing", "–", "–", *(figure(document["original"][key]) for key in SHOWN)])
    for row in document["rows"]:
        settings = [row["objective"], f"{row['lambda']:g}", f"{row['rate']:g}"]
        rows.append([*settings, *(figure(row["scores"][key]) for key in SHOWN)])
    floor = figure(document["noise_floor"])
    sure = f"Noise floor of the gap: {floor}; {len(document['seeds'])} seeds, ± half a 95 % t-interval."
    return f"{written(rows, 1)}\n\n{sure}"


def known(document: Document) -> str:
    """Return what the votes know."""
    rows = [["votes", "seed", "layer, k, T", "AUC", "wrong, %", "own, %", "hit, %"]]
    for name, seeds in document["votes"].items():
        for one in seeds:
            vote = one["vote"]
            told = f"{vote['layer']}, {vote['neighbours']}, {vote['temperature']:g}"
            shares = [f"{100 * one[key]:.1f}" for key in ("wrong", "own", "hit")]
            rows.append([name, f"{one['seed']}", told, f"{one['auc']:.3f}", *shares])
    return written(rows, 1)


COUNTERFACTUAL_TABLES = (distilled, known)
