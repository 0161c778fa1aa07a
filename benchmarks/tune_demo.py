"""Tune the demo's learning rates: four trials a method and request, on a seed that the demo does not show.

Run: python benchmarks/tune_demo.py     (about a minute; writes docs/results/demo-tuning.json)

Criterion, the same for every method. Class request: highest accuracy on control images of the other classes among the
trials that recognise at most .5 % of the control images of the class; else the lowest recognition. Random request:
least |Δ train accuracy| + |Δ control accuracy| + |accuracy on D_f − the original's control accuracy|, Δ against the
original and train accuracy on D_r. No retrained model and no test image is looked at.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tuning import accuracies, badness

from expunge import RunConfig
from expunge.api import unlearn
from expunge.demo.plan import (
    BATCH_NORM,
    COMMON_SETTINGS,
    FORGOTTEN_CLASS,
    METHODS,
    REQUESTS,
    get_method_settings,
    load_digits,
    make_case,
    train_network,
)
from expunge.errors import NotFiniteError

SEED = 1000
GRID = (0.001, 0.003, 0.01, 0.03)
GRIDS = {
    "fine_tune": (0.01, 0.03, 0.1, 0.3),
    "gradient_ascent": (3e-4, 1e-3, 3e-3, 1e-2),
    "explicit_surgery": (1e-4, 3e-4, 1e-3, 3e-3),
}
TARGET = Path(__file__).parents[1] / "docs" / "results" / "demo-tuning.json"


def main() -> None:
    """Try every rate and write the record."""
    torch.set_num_threads(1)
    record: dict[str, Any] = {
        "seed": SEED,
        "common": dict(COMMON_SETTINGS),
        "criterion": __doc__,
        "chosen": {},
        "trials": [],
    }
    data = load_digits()
    for kind in REQUESTS:
        chosen = make_case(kind, SEED, data)
        original, _ = train_network(chosen.train, SEED)
        before = accuracies(original, chosen.split, chosen.control, FORGOTTEN_CLASS)
        for method in METHODS:
            best: tuple[tuple[float, float], float] | None = None
            for rate in GRIDS.get(method, GRID):
                try:
                    split = chosen.split
                    sides = {"forget": split.forget, "retain": split.retain}
                    options = {**get_method_settings(method, kind), "rate": rate}
                    result = unlearn(
                        original, **sides, method=method, seed=SEED, config=RunConfig(batch_norm=BATCH_NORM), **options
                    )
                    now = accuracies(result.model, chosen.split, chosen.control, FORGOTTEN_CLASS)
                except NotFiniteError:
                    record["trials"].append({"kind": kind, "method": method, "rate": rate, "failed": True})
                    continue
                bad = badness(kind, now, before)
                record["trials"].append({"kind": kind, "method": method, "rate": rate, "badness": bad, **now})
                best = min(best or (bad, rate), (bad, rate))
            if best is not None:
                record["chosen"].setdefault(method, {})[kind] = best[1]
            print(kind, method, best, flush=True)
    TARGET.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
