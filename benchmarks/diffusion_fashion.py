"""A diffusion model of Fashion-MNIST forgets a class, by every method of the demo: the figures with 5,000 images.

    python benchmarks/diffusion_fashion.py --data-dir DATA            # writes docs/results/diffusion-fashion-mnist.json
    python benchmarks/diffusion_fashion.py --data-dir DATA --tune 5   # the rates, on another class than the one shown

The study is ``expunge demo --task diffusion`` with 500 images of the forgotten class and 5,000 of the others.
``--tune`` makes half as many updates, looks at 100 and 270 images of a model that forgets another class, and notes what
the judge says in ``docs/results/diffusion-fashion-mnist-tuning.json``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from expunge.api.generated import Drawing, GeneratedRows
from expunge.api.unlearning import unlearn
from expunge.demo import diffusion_plan
from expunge.demo.diffusion import built, run_diffusion_demo

RESULTS = Path(__file__).parents[1] / "docs" / "results"
NAME = "diffusion-fashion-mnist"
RATES = (1e-4, 3e-4, 1e-3)
TUNED = ("eupmu", "random_labels")
"""One rate is chosen for all methods, by looking at these two."""
STUDY = replace(diffusion_plan.FASHION, drawing=Drawing(forgotten=500, remaining=5000))

FALLING = replace(STUDY, settings={**STUDY.settings, "schedule": "cosine"}, methods={"eupmu": "eupmu"})
"""The same with a learning rate that falls to nothing, of one method."""


def study(data_dir: Path | None, folder: Path, threads: int, schedule: str) -> None:
    """Run the demo with 5,000 images, and keep its result and grid; with a falling rate, of EUPMU alone."""
    name, plan = (NAME, STUDY) if schedule == "constant" else (f"{NAME}-{schedule}", FALLING)
    run_diffusion_demo(out=folder, data_dir=data_dir, threads=threads, overwrite=True, console=Console(), plan=plan)
    result = json.loads((folder / "result.json").read_text())
    record = json.loads((RESULTS / "diffusion-base.json").read_text())
    result["study"] = name
    result["command"] = f"python benchmarks/diffusion_fashion.py --threads {threads} --schedule {schedule}"
    result["base"] = record["fashion_mnist"]["model"]
    for row in result["requests"][0]["rows"]:
        row["history"] = row["history"][-1:]
    result["requests"][0]["grids"] = []
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    shutil.copy(folder / "grid.png", RESULTS / "images" / f"{name}.png")


def tune(data_dir: Path | None, forgotten: int) -> None:
    """Try each rate for each method on another class, and note what the judge sees."""
    images, fewer = Drawing(forgotten=100, remaining=270), diffusion_plan.FASHION.retained // 2
    plan = replace(diffusion_plan.FASHION, forgotten=forgotten, retained=fewer, drawing=images)
    case = diffusion_plan.case(plan, data_dir)
    rows = GeneratedRows(case.split, case.real, case.judge, plan.drawing)
    found = []
    for name in TUNED:
        for rate in RATES:
            method = built(name, replace(plan, settings={**plan.settings, "rate": rate}))
            sides = {"forget": case.split.forget, "retain": case.split.retain}
            result = unlearn(case.original, **sides, task="diffusion", method=method)
            shown = rows.ask(result.model)
            lost, kept = shown.only([forgotten]), shown.without([forgotten])
            ua = 100 * float((case.judge(lost.images).classes != forgotten).mean())
            accuracy = 100 * float((case.judge(kept.images).classes == kept.labels.numpy()).mean())
            found.append({"method": name, "rate": rate, "ua": ua, "accuracy": accuracy, "seconds": result.seconds})
            print(found[-1], flush=True)
            record = {
                "study": f"{NAME}-tuning",
                "command": f"python benchmarks/diffusion_fashion.py --tune {forgotten}",
                "cells": found,
            }
            (RESULTS / f"{NAME}-tuning.json").write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    """Run the study, or the tuning before it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--tune", type=int, metavar="CLASS")
    parser.add_argument("--folder", type=Path, default=Path("runs") / NAME)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--schedule", choices=("constant", "cosine"), default="constant")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.tune is None:
        study(asked.data_dir, asked.folder, asked.threads, asked.schedule)
    else:
        tune(asked.data_dir, asked.tune)


if __name__ == "__main__":
    main()
