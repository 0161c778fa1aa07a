"""The tables of the page of the taught pipeline, from the result of ``tiny_stable_diffusion.py``.

Not a script: ``claim_tables.py`` calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

Document = Mapping[str, Any]
HEADS = (
    "method",
    "updates",
    "UA, %",
    "95 % interval",
    "entropy",
    "kept right, %",
    "FID real",
    "more than before",
    "FID original",
    "CPU s",
)


def cells(row: Mapping[str, Any]) -> list[str]:
    """Return the row of one model."""
    scores, evidence = row["scores"], row["evidence"]
    low, high = evidence["ua_interval"]
    known = evidence["feature"]
    excess = scores.get("feature_fid_excess")
    kept = "" if known["fid_real_kept"] else " **beyond**"
    return [
        row["method"],
        f"{row['updates']}" if row["updates"] else "–",
        f"{scores['generated_ua']:.1f}",
        f"{low:.1f} – {high:.1f}",
        f"{scores['generated_entropy']:.2f}",
        f"{scores['generated_accuracy']:.1f}",
        f"{scores['feature_fid_real']:.3f}{kept}",
        "–" if excess is None else f"{excess:+.0f} %".replace("-", "−"),
        f"{scores['feature_fid_original']:.3f}",
        f"{row.get('cpu_seconds', 0):.1f}",
    ]


def forgotten(kind: str, document: Document) -> str:
    """Return the table of one request."""
    rows = [HEADS, [":---"] + ["---:"] * (len(HEADS) - 1)]
    rows += [cells(row) for row in document["requests"][kind]["rows"]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


TAUGHT_TABLES = (partial(forgotten, "class"), partial(forgotten, "style"))
