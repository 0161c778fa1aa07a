"""The default beside the other rows of a benchmark, seed by seed: differences, and what became of its budget.

Not a script: ``pages.py`` calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from counterfactual_tables import counted, figure, written

from expunge.metrics import summarize

Document = Mapping[str, Any]
DEFAULT = "auto"
GAP = "avg_gap"


def beside_default(document: Document) -> str:
    """Return how much nearer the default is to retraining than each row, and its promise at every seed."""
    return f"{differences(document)}\n\n{promises(document)}{frontiers(document)}"


def differences(document: Document) -> str:
    """Return the paired differences of the average gap."""
    lines = [["request", "row", "auto − this", "upper 95 % bound"]]
    for request in document["requests"]:
        rows = {row["key"]: row for row in request["rows"] if row["role"] == "method"}
        for key, row in rows.items():
            paired = summarize(apart(rows[DEFAULT], row))
            if key != DEFAULT and paired.mean is not None:
                bound = "–" if paired.half_width is None else f"{paired.mean + paired.half_width:.2f}"
                lines.append([request["id"], row["label"], figure(paired.as_dict()), bound])
    return written(lines, 2)


def apart(first: Document, second: Document) -> list[float]:
    """Return the differences of two rows' gaps at the seeds that both have."""
    pairs = zip(*(row["scores"][GAP]["values"] for row in (first, second)), strict=True)
    return [one - other for one, other in pairs if one is not None and other is not None]


def promises(document: Document) -> str:
    """Return what was promised at every seed, and what the test set says of it."""
    lines = [["request", "seed", "rate found", "drop on test", "bound (certify)", "kept", "forgets"]]
    for request in document["requests"]:
        for found in request["budgets"][DEFAULT]:
            bound = "–" if found["bound"] is None else f"{found['bound']:.2f}"
            said = [{True: "yes", None: "undecided"}.get(found[what], "no") for what in ("within_budget", "target_met")]
            rate = f"{(found['search'] or {}).get('lr', 0):g}"
            lines.append([request["id"], f"{found['seed']}", rate, f"{found['true_drop']:.2f}", bound, *said])
    return f"{written(lines, 1)}\n\n{violations(document)}"


def frontiers(document: Document) -> str:
    """Return, of runs that did not forget single examples as asked, what was handed over and what forgot most.

    Empty where every request was met, or was for a class.
    """
    lines = [["not met", "seed", "handed over: points spent", "AUC", "forgot most: points spent", "AUC"]]
    for request in document["requests"]:
        for found in request["budgets"][DEFAULT]:
            looks = found.get("evaluations", ())
            told = [look for look in looks if look["auc"] is not None]
            if told and found["target_met"] is False:
                furthest = min(told, key=lambda look: abs(look["auc"] - 0.5))
                cells = [f"{look[key]:.3g}" for look in (looks[found["chosen"]], furthest) for key in ("spent", "auc")]
                lines.append([request["id"], f"{found['seed']}", *cells])
    return f"\n\n{written(lines, 1)}" if len(lines) > 1 else ""


def violations(document: Document) -> str:
    """Return in how many runs the test set lost more than the certificate's bound."""
    runs = [found for request in document["requests"] for found in request["budgets"][DEFAULT]]
    sure = [found for found in runs if found["bound"] is not None]
    missed = sum(found["true_drop"] > found["bound"] for found in sure)
    several = counted(missed, len(sure))
    return f"Of {len(sure)} runs with a certificate {several} lost more on the test set than its bound."
