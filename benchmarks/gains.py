"""Gains of the controller on real runs: how far a tenfold range of both changes what a budget buys.

Run: python benchmarks/gains.py --data-dir DATA --cache FOLDER     (ten minutes on two cores; resumable)

Digits, as in ``aims.py``, on three seeds that are not shown there; the neighbours' votes under the controller with
K_p in {3, 10, 30} and K_i in {.05, .2, .8}, two learning rates, two requests, a budget of three points, no search. The
theory for a quadratic is in the docstring of ``expunge.surgery.Cumulative`` and in its tests; it says which gains are
stable, not which are good. Writes docs/results/gains.json.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from typing import Any

from aims_bench import Digits
from fashion_bench import KINDS, RESULTS, Cell, Workers, options

from expunge import Budget, unlearn
from expunge.metrics import summarise

PROPORTIONAL, INTEGRAL, RATES, SEEDS = (3.0, 10.0, 30.0), (0.05, 0.2, 0.8), (0.005, 0.02), (1000, 1001, 1002)
TARGET = RESULTS / "gains.json"


class GainsBench(Digits):
    """The digits, unlearned by a composition inside the budget."""

    folder = "gains"

    def unlearned(self, cell: Cell) -> dict[str, Any]:
        """Unlearn and return what became of the budget."""
        case, model = self.case(cell.kind, cell.seed), self.original(cell.seed)
        parts: dict[str, Any] = {"forget": case.split.forget, "retain": case.split.retain, "holdout": case.control}
        budget: dict[str, Any] = {"budget": Budget(points=self.points)}
        result = unlearn(model, **parts, **budget, method=cell.method, seed=cell.seed, **cell.settings)
        told = {} if result.budget is None else result.budget.document()
        drop = self.kept(cell, model) - self.kept(cell, result.model)
        return {"seconds": result.seconds, "looks": told["looks"], "chosen": told["chosen"], "true_drop": drop}


def cell(kind: str, seed: int, proportional: float, integral: float, rate: float) -> Cell:
    """Return one run."""
    surgery = f"cumulative(proportional={proportional}, integral={integral}, lowest=0.3)"
    common = {"batch": 64, "forget_batch": 64, "epochs": 40, "schedule": "cosine", "rate": rate}
    return Cell(kind, seed, "composed", {**common, "objective": "counterfactual", "surgery": surgery}, measured=False)


def row(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what a setting came to: the worst reading, what was handed over, and how much forgetting is missing."""
    handed = [one["looks"][one["chosen"]] for one in found]
    worst = [max(look["spent"] for look in one["looks"] if look["spent"] is not None) for one in found]
    figures = {
        "worst": worst,
        "spent": [look["spent"] for look in handed],
        "missing": [100 * look["missing"] for look in handed],
        "true_drop": [one["true_drop"] for one in found],
    }
    return {name: summarise(values).as_dict() for name, values in figures.items()}


def main() -> None:
    """Make all runs that are not there and write the record."""
    asked = options(__doc__ or "")
    grid = list(product(KINDS, PROPORTIONAL, INTEGRAL, RATES))
    made = {(kind, *rest): [cell(kind, seed, *rest) for seed in SEEDS] for kind, *rest in grid}
    workers = Workers(asked.data_dir, asked.cache / "digits", asked.workers, GainsBench)
    workers.make([one for cells in made.values() for one in cells], "gains")
    bench = GainsBench(asked.data_dir, asked.cache / "digits")
    rows = []
    for (kind, proportional, integral, rate), cells in made.items():
        setting = {"kind": kind, "proportional": proportional, "integral": integral, "rate": rate}
        rows.append({**setting, **row([bench.cell(one) for one in cells])})
    record = {"study": "gains", "command": "python benchmarks/gains.py", "seeds": list(SEEDS), "points": 3.0}
    TARGET.write_text(json.dumps({**record, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
