"""Published figures beside ours, from ``known-figures.json`` and the results that it names.

Not a script: ``claim_tables.py`` calls it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterfactual_tables import figure, written

Document = Mapping[str, Any]
SCORES = ("ua", "ra", "ta", "mia")
RESULTS = Path(__file__).parents[1] / "docs" / "results"
OURS = ("EUPMU", "LUR", "auto")
"""Methods that the published table does not have."""


def beside(document: Document) -> str:
    """Return the published average gap of each method beside ours, request by request."""
    return "\n\n".join(one_request(request) for request in document["requests"])


def one_request(request: Document) -> str:
    """Return the table of one request: what retraining gives, then the gap of each method."""
    found = {name: scores_in(*where) for name, where in request["here"].items()}
    rows = [[request["title"], "published", "reproduced by others", *found]]
    every = [" / ".join(f"{scores['Retrain'][key]['mean']:.2f}" for key in SCORES) for scores in found.values()]
    rows.append(["Retrain: UA / RA / TA / MIA", quadruple(request["retrained"]), "", *every])
    names = [*request["gaps"], *(name for name in OURS if any(name in scores for scores in found.values()))]
    for name in ("Original", *names):
        published = request["gaps"].get(name)
        again = reproduced(request, name)
        ours = [figure(scores[name]["avg_gap"]) if name in scores else "–" for scores in found.values()]
        rows.append([f"{name}: gap", "–" if published is None else f"{published:.2f}", again, *ours])
    return written(rows, 1)


def scores_in(file: str, request: str) -> dict[str, Document]:
    """Return the scores of a result's request by the name of the row."""
    document = json.loads((RESULTS / file).read_text(encoding="utf-8"))
    part = next(part for part in document["requests"] if part["id"] == request)
    return {
        row["label"]: row["scores"]
        for row in part["rows"]
        if (row["scores"].get("avg_gap") or {}).get("mean") is not None
    }


def reproduced(request: Document, name: str) -> str:
    """Return the gap of somebody else's run to the published retrained network."""
    scores = request["reproduced"].get(name)
    if scores is None:
        return "–"
    return f"{sum(abs(scores[key] - request['retrained'][key]) for key in SCORES) / len(SCORES):.2f}"


def quadruple(scores: Mapping[str, float]) -> str:
    """Return UA, RA, TA and MIA in one cell."""
    return " / ".join(f"{scores[key]:.2f}" for key in SCORES)
