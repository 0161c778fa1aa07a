"""Gains of the controller: what a tenfold range of both, and λ_min, change of what a budget buys.

Run: python benchmarks/gains.py --cache FOLDER     (ten minutes of one core; resumable)

Real runs: digits, as in ``aims.py``, on three seeds that are not shown there; the neighbours' votes under the
controller inside a budget of three points, two requests, two learning rates, no search. K_p in {3, 10, 30} and K_i in
{.05, .2, .8} at λ_min = .3; λ_min in {0, .3, 1} at the default gains. A quadratic: the largest stable step and the
half-life of a deviation, from the characteristic polynomial in the docstring of ``expunge.surgery.PIController``.
Writes docs/results/gains.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from aims_bench import Digits
from fashion_bench import KINDS, RESULTS, Cell
from torch import nn

from expunge import Budget, unlearn
from expunge.batch import Examples, Predictor
from expunge.budget import evaluate_model
from expunge.metrics import summarize

PROPORTIONAL, INTEGRAL, LOWEST = (3.0, 10.0, 30.0), (0.05, 0.2, 0.8), (0.0, 0.3, 1.0)
GAINS, FLOOR = (10.0, 0.2), 0.3
"""The gains at which λ_min is varied, and the λ_min at which the gains are."""
RATES, SEEDS = (0.005, 0.02), (1000, 1001, 1002)
DECAY, MULTIPLIER, STEP = 0.9, 1.0, 0.01
"""Of the quadratic: decay of the average, λ*, and rate × curvature where the half-life is stated."""
TARGET = RESULTS / "gains.json"


class GainsBench(Digits):
    """The digits, unlearned by a composition inside the budget."""

    folder = "gains"

    def unlearned(self, cell: Cell) -> dict[str, Any]:
        """Unlearn and return what became of the budget, of the retained images and of the test set."""
        case, model = self.case(cell.kind, cell.seed), self.original(cell.seed)
        parts: dict[str, Any] = {"forget": case.split.forget, "retain": case.split.retain, "holdout": case.control}
        budget: dict[str, Any] = {"budget": Budget(accuracy_points=self.points)}
        result = unlearn(model, **parts, **budget, method=cell.method, seed=cell.seed, **cell.settings)
        told = {} if result.budget is None else result.budget.as_dict()
        drops = {
            "true_drop": self.kept(cell, model) - self.kept(cell, result.model),
            "retain_drop": right(model, case.split.retain) - right(result.model, case.split.retain),
        }
        return {"seconds": result.seconds, "looks": told["looks"], "chosen": told["chosen"], **drops}


def right(model: nn.Module, examples: Examples) -> float:
    """Return the accuracy in percent."""
    return float(evaluate_model(Predictor(model), examples).accuracy or 0.0)


def cell(kind: str, seed: int, proportional: float, integral: float, lowest: float, rate: float) -> Cell:
    """Return one run."""
    surgery = f"cumulative(kp={proportional}, ki={integral}, min_multiplier={lowest})"
    common = {"batch": 64, "forget_batch": 64, "epochs": 40, "schedule": "cosine", "rate": rate}
    return Cell(kind, seed, "composed", {**common, "objective": "counterfactual", "surgery": surgery}, measured=False)


def settings() -> list[tuple[float, float, float]]:
    """Return K_p, K_i and λ_min of every setting: the grid of gains, then other λ_min at the default gains."""
    grid = [(*pair, FLOOR) for pair in product(PROPORTIONAL, INTEGRAL)]
    return grid + [(*GAINS, lowest) for lowest in LOWEST if lowest != FLOOR]


def row(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what a setting came to: the worst reading, what was handed over, and how much forgetting is missing."""
    handed = [one["looks"][one["chosen"]] for one in found]
    figures = {
        "worst": [max(look["spent"] for look in one["looks"] if look["spent"] is not None) for one in found],
        "spent": [look["spent"] for look in handed],
        "missing": [100 * look["missing"] for look in handed],
        "true_drop": [one["true_drop"] for one in found],
        "retain_drop": [one["retain_drop"] for one in found],
    }
    handed_back = sum(one["chosen"] == 0 for one in found)
    return {name: summarize(values).as_dict() for name, values in figures.items()} | {"handed_back": handed_back}


def radius(step: float, proportional: float, integral: float) -> float:
    """Return the largest modulus of a root at rate × curvature ``step``, both losses of one curvature, ρ = 1."""
    share = 2 * step / (1 + MULTIPLIER)
    gains = (1 - DECAY) * share * np.array([0, 0, proportional + integral, -proportional])
    return float(np.abs(np.roots(np.poly([1 - step, DECAY, 1.0]) + gains)).max())


def quadratic(proportional: float, integral: float) -> dict[str, float | None]:
    """Return up to which rate × curvature the rest is stable, and the half-life of a deviation in updates.

    None where it is not stable at a small one, or not at ``STEP``. Beyond 2 plain descent is not either.
    """
    steps = np.geomspace(1e-4, 2.0, 4000)
    broken = [step for step in steps if radius(step, proportional, integral) >= 1]
    largest = float(broken[0]) if broken else 2.0
    there = radius(STEP, proportional, integral)
    half_life = float(np.log(0.5) / np.log(there)) if there < 1 else None
    known = {"largest": largest if largest > steps[0] else None, "half_life": half_life}
    return {"proportional": proportional, "integral": integral, **known}


def made(bench: GainsBench) -> list[dict[str, Any]]:
    """Make all runs that are not there, and return a row for each setting."""
    rows, began = [], time.perf_counter()
    for kind, setting, rate in product(KINDS, settings(), RATES):
        found = [bench.cell(cell(kind, seed, *setting, rate)) for seed in SEEDS]
        names = dict(zip(("proportional", "integral", "lowest"), setting, strict=True))
        rows.append({"kind": kind, **names, "rate": rate, **row(found)})
        print(f"[{time.perf_counter() - began:4.0f} s] {len(rows)}: {kind} {setting} {rate}", flush=True)
    return rows


def main() -> None:
    """Make the study and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder of weights and runs")
    torch.set_num_threads(1)
    cache = parser.parse_args().cache / "digits"
    rows = made(GainsBench(cache, cache))
    said = {"study": "gains", "command": "python benchmarks/gains.py --cache FOLDER", "seeds": list(SEEDS)}
    of = {"data": "digits", "points": GainsBench.points, "decay": DECAY, "multiplier": MULTIPLIER, "step": STEP}
    closed = [quadratic(*pair) for pair in product(PROPORTIONAL, INTEGRAL)]
    TARGET.write_text(json.dumps({**said, **of, "quadratic": closed, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
