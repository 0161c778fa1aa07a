"""``auto`` on the models of the diffusion demo: no learning rate, no number of updates is given.

Run: python benchmarks/diffusion_auto.py --data-dir DATA

A model of Fashion-MNIST forgets T-shirts and one of digits the 3, as in ``expunge demo --task diffusion``, with all
other training images to retain; ``--seeds`` of the unlearning. What the range test of ``auto`` permits, and what counts
as forgotten, was set by models that forgot sandals and the digits 2, 5, 8 and 9. Writes the record after each seed:
docs/results/diffusion-auto.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusion_fashion import RESULTS

from expunge.api.generative.image_comparison import ImageModelComparison, SamplingConfig
from expunge.api.unlearning import unlearn
from expunge.demo import diffusion_plan
from expunge.demo.diffusion_plan import DiffusionDemoPlan

ALL = 10**9
PLANS = {
    "digits": replace(diffusion_plan.DIGITS, num_retained=ALL, sampling=SamplingConfig(forgotten=500, remaining=1800)),
    "fashion_mnist": replace(diffusion_plan.FASHION, num_retained=ALL),
}


def told(rows: ImageModelComparison, base: dict[str, Any], searches: list[Any]) -> dict[str, Any]:
    """Return what is known of one model so far."""
    table = rows.build_table()
    for row in table["rows"]:
        row["history"] = row.get("history", [])[-1:]
    return {"base": base, "requests": [table], "searches": searches}


def write(name: str, found: dict[str, Any]) -> None:
    """Put what is known of one model into the record."""
    path = RESULTS / "diffusion-auto.json"
    record = json.loads(path.read_text()) if path.exists() else {"models": {}}
    command = "python benchmarks/diffusion_auto.py"
    record = {"study": "diffusion-auto", "command": command, "models": {**record["models"], name: found}}
    path.write_text(json.dumps(record, indent=1) + "\n")


def study(name: str, plan: DiffusionDemoPlan, data_dir: Path, seeds: range) -> None:
    """Let the original draw, then unlearn with each seed and draw again."""
    case = diffusion_plan.load_case(plan, data_dir)
    rows = ImageModelComparison(case.split, case.real, case.classifier, plan.sampling)
    rows.add_original(case.original)
    base = json.loads((RESULTS / "diffusion-base.json").read_text())[name]["model"]
    searches: list[Any] = []
    for seed in seeds:
        sides = {"forget": case.split.forget, "retain": case.split.retain}
        result = unlearn(case.original, **sides, task="diffusion", seed=seed)
        rows.add_unlearned(result.model, f"auto-{seed}", result.method, result.seconds, result.history)
        searches.append(result.search_history)
        write(name, told(rows, base, searches))
        print(
            name,
            seed,
            result.search_history["rate"] if result.search_history else None,
            f"{result.seconds:.0f} s",
            flush=True,
        )


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--models", nargs="*", default=sorted(PLANS), choices=sorted(PLANS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    for name in asked.models:
        study(name, PLANS[name], asked.data_dir, range(asked.seeds))


if __name__ == "__main__":
    main()
