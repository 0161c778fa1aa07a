"""``method="auto"`` with the same defaults everywhere, beside the best hand-tuned methods and the noise floor.

Run: python benchmarks/aims.py SET --data-dir DATA --cache FOLDER     (resumable; SET: digits,
     fashion_mnist, or fashion_mnist_12000, which is the bench of fashion_methods.py)

Each seed has its own draw of training images, its own original, and two networks retrained without the forgotten
images; gaps are to the first, the second gives the noise floor. ``auto`` is given the budget and the held-out images
and nothing else. The methods beside it have the settings that their own tuning chose (demo-tuning.json,
methods-fashion-mnist-tuning.json); they were the best there. Seconds are of one processor; of retraining, wall clock.
``auto`` was developed on seeds from 1000 on, which are not shown. Writes docs/results/aims-SET.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from aims_bench import AUTO, BENCHES, AimsBench
from fashion_bench import COMMON, KINDS, RESULTS, Cell, Workers

from expunge.demo import plan
from expunge.evaluation import compute_noise_floor
from expunge.metrics import summarize

SCORES = ("ua", "ra", "ta", "mia", "avg_gap", "auc")
SEEDS: Mapping[str, Sequence[int]] = {
    "digits": range(10),
    "fashion_mnist": range(5),
    "fashion_mnist_12000": range(5),
}


LABELS = {"exclude_true": True}


class Rival(NamedTuple):
    """A hand-tuned method: its key, the request, how it is built, and its settings."""

    key: str
    kind: str
    method: str
    settings: dict[str, Any]
    normalisation: str = "frozen"


CLOTHES = (
    Rival("salun_soft", "class", "salun_soft", {**COMMON, **LABELS, "rate": 0.003}),
    Rival("scrub_separate", "class", "scrub", {**COMMON, "rate": 0.008}, "separate"),
    Rival("gdr_gma", "random", "gdr_gma", {**COMMON, "rate": 0.0001}),
)
RIVALS: Mapping[str, Sequence[Rival]] = {
    "digits": [
        Rival(name, kind, name, plan.get_method_settings(name, kind))
        for kind in KINDS
        for name in ("eupmu", "eupmu_fast")
    ],
    "fashion_mnist": CLOTHES,
    "fashion_mnist_12000": CLOTHES,
}


def cells(name: str, kind: str) -> dict[str, list[Cell]]:
    """Return the cells of one request: ``auto`` first, then its rivals."""
    seeds = SEEDS[name]
    found = {AUTO: [Cell(kind, seed, AUTO) for seed in seeds]}
    for rival in RIVALS[name]:
        if rival.kind == kind:
            made = [Cell(kind, seed, rival.method, rival.settings, True, rival.normalisation) for seed in seeds]  # type: ignore[arg-type]
            found[rival.key] = made
    return found


def row(bench: AimsBench, made: Sequence[Cell]) -> dict[str, Any]:
    """Return the figures of one method over the seeds."""
    found = [bench.cell(cell) for cell in made]
    scores = {key: summarize([one.get("scores", {}).get(key) for one in found]).as_dict() for key in SCORES}
    return {"scores": scores, "seconds": [one.get("cpu_seconds") for one in found], "settings": made[0].settings}


def request(name: str, kind: str, data_dir: Path, cache: Path) -> dict[str, Any]:
    """Return everything about one request."""
    torch.set_num_threads(1)
    bench = BENCHES[name](data_dir, cache)
    rows = {key: row(bench, made) for key, made in cells(name, kind).items()}
    gaps = {key: found["scores"]["avg_gap"]["values"] for key, found in rows.items()}
    paired = {
        key: summarize([mine - theirs for mine, theirs in zip(gaps[AUTO], other, strict=True)]).as_dict()
        for key, other in gaps.items()
        if key != AUTO
    }
    seeds = SEEDS[name]
    references = [[bench.reference(kind, seed, number) for number in (0, 1)] for seed in seeds]
    runs = [bench.cell(cell) for cell in cells(name, kind)[AUTO]]
    trained = [bench.facts(f"retrained-{kind}-{seed}-0")["seconds"] for seed in seeds]
    accuracy = [bench.facts(f"original-{seed}")["train_accuracy"] for seed in seeds]
    return {
        "original": bench.untouched(kind, seeds),
        "retrained": bench.untouched(kind, seeds, retrained=True),
        "noise_floor": compute_noise_floor(references).as_dict(),
        "rows": rows,
        "difference": paired,
        "retrain_seconds": trained,
        "train_accuracy": accuracy,
        "budget": [{**one["budget"], "looks": len(one["budget"]["looks"])} for one in runs],
        "looks": [one["budget"]["looks"] for one in runs],
        "search": [one["search"] for one in runs],
        "true_drop": [one["true_drop"] for one in runs],
    }


def main() -> None:
    """Make what is not there and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=sorted(SEEDS), help="which data set")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--cache", type=Path, required=True, help="folder of weights and cells")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    asked = parser.parse_args()
    cache = asked.cache / asked.set
    workers = Workers(asked.data_dir, cache, asked.workers, BENCHES[asked.set])
    workers.train(seeds=SEEDS[asked.set])
    workers.make([cell for kind in KINDS for made in cells(asked.set, kind).values() for cell in made], "aims")
    with multiprocessing.get_context("spawn").Pool(min(2, asked.workers)) as pool:
        found = pool.starmap(request, [(asked.set, kind, asked.data_dir, cache) for kind in KINDS])
    record = {
        "study": f"aims-{asked.set}",
        "command": f"python benchmarks/aims.py {asked.set}",
        "seeds": list(SEEDS[asked.set]),
        "points": BENCHES[asked.set].points,
        "requests": dict(zip(KINDS, found, strict=True)),
    }
    (RESULTS / f"aims-{asked.set}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
