"""A diffusion model of Fashion-MNIST forgets a class, by every method of the demo: the figures with 5,000 images.

    python benchmarks/diffusion_fashion.py --tune 5 --data-dir DATA       # rates, on another class than the one shown
    python benchmarks/diffusion_fashion.py --folder F --data-dir DATA     # the study, into a run folder
    python benchmarks/diffusion_fashion.py --collect F                    # writes docs/results from it

The study is ``expunge demo --task diffusion`` with 500 images of the forgotten class and 5,000 of the others. It can be
cut into processes that take some of the methods each (``--methods eupmu lur``); ``--collect F G`` puts their rows
together. ``--tune`` makes half as many updates, looks at 100 and 270 images of a model that forgets another class, and
notes what the judge says in ``docs/results/diffusion-fashion-mnist-tuning.json``.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from expunge.api.generative.image_comparison import ImageModelComparison, SamplingConfig
from expunge.api.unlearning import unlearn
from expunge.demo import diffusion_plan
from expunge.demo.diffusion import build_demo_method, run_diffusion_demo
from expunge.tasks.diffusion.ddpm import DDPM

RESULTS = Path(__file__).parents[1] / "docs" / "results"
NAME = "diffusion-fashion-mnist"
RATES = (1e-4, 3e-4, 1e-3)
TUNED = ("eupmu", "random_labels")
"""One rate is chosen for all methods, by looking at these two."""
STUDY = replace(diffusion_plan.FASHION, sampling=SamplingConfig(forgotten=500, remaining=5000))
PICTURES = SamplingConfig(forgotten=3, remaining=27)
"""In the grid."""


def study(data_dir: Path | None, folder: Path, threads: int, methods: list[str], rate: float, steps: int) -> None:
    """Run the demo with 5,000 images and some of its methods."""
    chosen = {name: words for name, words in diffusion_plan.METHODS.items() if not methods or name in methods}
    drawing = replace(STUDY.sampling, steps=steps)
    plan = replace(STUDY, methods=chosen, sampling=drawing, settings={**STUDY.settings, "rate": rate})
    run_diffusion_demo(out=folder, data_dir=data_dir, threads=threads, overwrite=True, console=Console(), plan=plan)


def collect(data_dir: Path | None, folders: list[Path], name: str) -> None:
    """Put the rows of run folders together, and draw a grid of all their models."""
    results = [json.loads((folder / "result.json").read_text()) for folder in folders]
    whole = {"study": name, **results[0]}
    rows = {row["key"]: row for result in results for row in result["requests"][0]["rows"]}
    order = ["original", *diffusion_plan.METHODS]
    request = {**whole["requests"][0], "rows": [rows[key] for key in order if key in rows], "grids": []}
    for row in request["rows"]:
        row["history"] = row["history"][-1:]
    record = json.loads((RESULTS / "diffusion-base.json").read_text())["fashion_mnist"]
    whole |= {"requests": [request], "base": record["model"], "command": "python benchmarks/diffusion_fashion.py"}
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n")
    case = diffusion_plan.load_case(diffusion_plan.FASHION, data_dir)
    shown = ImageModelComparison(case.split, case.real, case.classifier, PICTURES)
    shown.add_original(case.original)
    for row in request["rows"][1:]:
        place = next(folder / row["key"] / "unlearned" for folder in folders if (folder / row["key"]).is_dir())
        method = build_demo_method(diffusion_plan.METHODS[row["key"]], diffusion_plan.FASHION)
        shown.add_unlearned(DDPM.from_pretrained(place), row["key"], method)
    shown.build_grid(case.source.class_names).write(RESULTS / "images" / f"{name}.png")


def tune(data_dir: Path | None, forgotten: int) -> None:
    """Try each rate for each method on another class, and note what the judge sees."""
    images, fewer = SamplingConfig(forgotten=100, remaining=270), diffusion_plan.FASHION.num_retained // 2
    plan = replace(diffusion_plan.FASHION, forgotten_class=forgotten, num_retained=fewer, sampling=images)
    case = diffusion_plan.load_case(plan, data_dir)
    rows = ImageModelComparison(case.split, case.real, case.classifier, plan.sampling)
    found = []
    for name in TUNED:
        for rate in RATES:
            method = build_demo_method(name, replace(plan, settings={**plan.settings, "rate": rate}))
            sides = {"forget": case.split.forget, "retain": case.split.retain}
            result = unlearn(case.original, **sides, task="diffusion", method=method)
            shown = rows.sample_images(result.model)
            lost, kept = shown.select_classes([forgotten]), shown.exclude_classes([forgotten])
            ua = 100 * float((case.classifier(lost.images).classes != forgotten).mean())
            accuracy = 100 * float((case.classifier(kept.images).classes == kept.labels.numpy()).mean())
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
    parser.add_argument("--methods", nargs="*", default=[], choices=sorted(diffusion_plan.METHODS))
    parser.add_argument("--collect", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--rate", type=float, default=STUDY.settings["rate"])
    parser.add_argument("--steps", type=int, default=25, help="of the sampler")
    parser.add_argument("--name", default=NAME, help="of the result that --collect writes")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.collect:
        collect(asked.data_dir, asked.collect, asked.name)
    elif asked.tune is not None:
        tune(asked.data_dir, asked.tune)
    else:
        study(asked.data_dir, asked.folder, asked.threads, asked.methods, asked.rate, asked.steps)


if __name__ == "__main__":
    main()
