"""``auto`` inside a budget of the loss, on the diffusion models that come with the package.

Run: python benchmarks/diffusion_budget.py --models digits                      (a minute a seed on one thread, no data)
     python benchmarks/diffusion_budget.py --models fashion_mnist --data-dir DATA      (a quarter of an hour a seed)

The digit 3 is forgotten, and T-shirts. The test images, which the models never saw, are held out: half of them steer,
half certify. The judge is asked afterwards, for the table alone. Writes docs/results/diffusion-budget.json after each
seed; what is there already is not made again, and two processes may make seeds of their own.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusion_auto import PLANS as LARGE

from expunge import Budget
from expunge.api.generative.image_comparison import ImageModelComparison, SamplingConfig
from expunge.api.unlearning import unlearn
from expunge.demo import diffusion_plan
from expunge.demo.diffusion_plan import DiffusionDemoCase

RESULT = Path(__file__).parents[1] / "docs" / "results" / "diffusion-budget.json"
COMMAND = "python benchmarks/diffusion_budget.py --models digits fashion_mnist --data-dir DATA"
ALLOWED = 0.05
PLANS = LARGE | {"digits": replace(LARGE["digits"], sampling=SamplingConfig(forgotten=200, remaining=180))}
JUDGED = ("generated_ua", "generated_accuracy")
DISTANCES = ("feature_fid_real", "feature_fid_original")
ENOUGH = 1000
"""Drawn images of the classes that stay, at least, for a distance."""


def record() -> dict[str, Any]:
    """Return what is there."""
    if RESULT.exists():
        found: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8"))
        return found
    return {"study": "diffusion-budget", "command": COMMAND, "models": {}}


def write(name: str, entry: dict[str, Any]) -> None:
    """Add one run to what is there by now."""
    found = record()
    runs = [one for one in found["models"].get(name, []) if one["seed"] != entry["seed"]]
    found["models"][name] = sorted([*runs, entry], key=lambda one: int(one["seed"]))
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def drawn(row: dict[str, Any], images: int) -> dict[str, Any]:
    """Return what the judge says of one model, and how far its images are from real ones if there are enough."""
    judged = {key: row["scores"][key]["mean"] for key in JUDGED}
    if images < ENOUGH:
        return judged
    distances = {key: row["scores"][key]["mean"] for key in DISTANCES}
    return judged | distances | {"allowed": row["evidence"][0]["feature"]["fid_real_allowed"]}


def made(case: DiffusionDemoCase, rows: ImageModelComparison, seed: int) -> dict[str, Any]:
    """Forget inside the budget, and let the model draw."""
    sides = {"forget": case.split.forget, "retain": case.split.retain, "holdout": case.source.test}
    result = unlearn(case.original, **sides, task="diffusion", budget=Budget(loss_increase=ALLOWED), seed=seed)
    rows.add_unlearned(result.model, f"auto-{seed}", result.method, result.seconds, result.history)
    spending = result.budget
    if spending is None:
        raise RuntimeError("Expected a budget in the result, but found none.")
    print(spending.summary, flush=True)
    ended = {"updates": len(result.history), "seconds": result.seconds, "search": result.search_history}
    table, images = {row["key"]: row for row in rows.build_table()["rows"]}, rows.sampling.remaining
    judged = {"before": drawn(table["original"], images), "after": drawn(table[f"auto-{seed}"], images)}
    return {"seed": seed, **ended, "budget": spending.as_dict(), **judged}


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=["digits"], choices=sorted(PLANS))
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", nargs="*", type=int, default=list(range(5)))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.models:
        case = diffusion_plan.load_case(PLANS[name], options.data_dir)
        rows = ImageModelComparison(case.split, case.real, case.classifier, PLANS[name].sampling)
        rows.add_original(case.original)
        for seed in options.seeds:
            if seed not in [one["seed"] for one in record()["models"].get(name, [])]:
                write(name, made(case, rows, seed))


if __name__ == "__main__":
    main()
