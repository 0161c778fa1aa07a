"""EUPMU put to the test on images: how much does the tolerance matter, and explicit against implicit surgery.

Run: python benchmarks/claim_eupmu.py --data-dir DATA --cache FOLDER     (after fashion_methods.py, same cache)

Each form at one learning rate, the one frozen for EUPMU, over its own knob: ε of the stabilised implicit and of the
explicit form, the demanded fall ``error`` of the released one; both duals of the stabilised form. Three paired seeds.
Writes docs/results/claim-eupmu.json. The part on a quadratic is benchmarks/quadratic.py.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from fashion_bench import COMMON, KINDS, RESULTS, SEEDS, Bench, Cell, Workers, options
from fashion_methods import LABELS, TUNING

from expunge.metrics import summarize

TOLERANCES = (0.0, 0.01, 0.1, 1.0, 3.0)
ERRORS = (0.01, 0.05, 0.25)
SWEPT = SEEDS[:3]
COMPARED = ("ua", "ra", "ta", "mia", "avg_gap")
TARGET = RESULTS / "claim-eupmu.json"


def variants() -> list[tuple[str, str, float, str, dict[str, Any]]]:
    """Return (form, knob, value, method, settings)."""
    found: list[tuple[str, str, float, str, dict[str, Any]]] = []
    for value in TOLERANCES:
        found.append(("implicit", "tolerance", value, "eupmu", {"tolerance": value}))
        found.append(("explicit", "tolerance", value, "explicit_surgery", {"tolerance": value}))
    found += [("as published", "error", value, "eupmu", {"margin": value, "as_published": True}) for value in ERRORS]
    found.append(("implicit, Adam", "tolerance", 0.0, "eupmu", {"dual": "adam"}))
    return found


def figures(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures over seeds, with the multiplier and what was removed of the forget gradient."""
    sound = [one for one in found if "failed" not in one]
    said: dict[str, Any] = {
        name: summarize([one["scores"][name] for one in sound]).as_dict() for name in COMPARED if sound
    }
    for name in ("multiplier", "cosine", "removed"):
        means = [of_history(one, name) for one in sound]
        said[name] = summarize([value for value in means if value is not None]).as_dict()
    return {**said, "diverged": len(found) - len(sound)}


def of_history(one: dict[str, Any], name: str) -> float | None:
    """Return the mean of a column of one history."""
    values = [row[name] for row in one["history"] if row.get(name) is not None]
    return sum(values) / len(values) if values else None


def main() -> None:
    """Make the cells and write the record."""
    asked = options(__doc__)
    rates = json.loads(TUNING.read_text())["chosen"]["eupmu"]
    bench = Bench(asked.data_dir, asked.cache)
    groups = []
    for kind in KINDS:
        common = {**COMMON, **(LABELS if kind == "class" else {}), "rate": rates[kind]}
        for form, knob, value, method, settings in variants():
            cells = [Cell(kind, seed, method, {**common, **settings}) for seed in SWEPT]
            groups.append(({"kind": kind, "form": form, "knob": knob, "value": value}, cells))
    Workers(asked.data_dir, asked.cache, asked.workers).make([one for _, cells in groups for one in cells], "eupmu")
    rows = [{**about, **figures([bench.cell(one) for one in cells])} for about, cells in groups]
    document = {"study": "claim-eupmu", "torch": torch.__version__, "rates": rates, "seeds": list(SWEPT), "rows": rows}
    TARGET.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
