"""Why updates are clipped by default: random labels on a memorised class, with and without a limit.

Run: python benchmarks/clipping.py --data-dir DATA --cache FOLDER     (a minute; the cache is that of normalisation.py)

Writes docs/results/clipping.json: the losses of the first updates, seed 0, rate .01, for both limits and two policies.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from normalisation import RESULTS, TRAIN, Study

from expunge.batch import Predictor, Split
from expunge.data import ByClass, Subset, split_request
from expunge.engine import RunOptions, run_recipe
from expunge.errors import NotFiniteError
from expunge.methods import build_method
from expunge.registry import find_component

UPDATES = 12


def first_updates(study: Study, policy: str, clip: float | None) -> dict[str, Any]:
    """Return the losses of the first updates, and how the epoch ended."""
    drawn = study.source.subset(TRAIN, 0).train
    forget, retain = (Subset(drawn, part) for part in split_request(drawn, ByClass(0)))
    model = study.trained("original", drawn, 0)
    built = build_method("rl", epochs=1, rate=study.rate, clip=clip, batch=128, forget_batch=64)
    rows: list[dict[str, Any]] = []
    conditions = RunOptions(0, policy, log_gradients_every=0, log_every=1, on_log=rows.extend)
    try:
        run_recipe(Predictor(model), built.recipe(0), Split(forget, retain, 10), conditions)
        end = "finished"
    except NotFiniteError as error:
        end = str(error)
    losses = [[row["forget_loss"], row["retain_loss"]] for row in rows[:UPDATES]]
    return {"normalisation": policy, "clip": clip, "end": end, "losses": losses}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    study = Study("class", find_component("readers", "fashion_mnist")(options.data_dir), 0.01, None, 30, options.cache)
    runs = [first_updates(study, policy, clip) for policy in ("frozen", "separate") for clip in (None, 1.0)]
    for run in runs:
        print(run["normalisation"], run["clip"], run["end"], [round(f or 0, 1) for f, _ in run["losses"]])
    record = {"method": "rl", "rate": 0.01, "seed": 0, "losses_are": "forget, retain", "runs": runs}
    (RESULTS / "clipping.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
