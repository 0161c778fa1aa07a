"""A hundred kills: runs that are killed at random moments and gone on with, beside the same runs left alone.

Run: python benchmarks/crash.py     (about ten minutes of one core)
     python benchmarks/crash.py --ranks 2 --kills 18     (about two minutes of two cores)

Writes docs/results/crash.json. Three requests on scikit-learn's digits: a method as it is, one with a selection after
its epochs, and ``auto`` inside a budget, which searches its learning rate; the state is saved after every update, so
that kills fall into saving too. The cost of a checkpoint is measured beside it, for three sizes of model.

With ``--ranks`` so many processes share each run and are killed at once, ``auto`` is told its rate, and the record is
docs/results/crash-ranks.json, without the costs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from killed_runs import Killed, killed, straight
from torch import nn

from expunge.api import train_request
from expunge.engine import CheckpointManager
from expunge.request.config import load_request

RESULTS = Path(__file__).parents[1] / "docs" / "results"
REQUEST = """
model: {name: small_cnn, options: {width: 4}}
data: {name: digits, subset: 300, options: {test_share: 0.6}}
forget: {class: 3}
train: {epochs: 10, batch_size: 20, lr: 0.1}
checkpoint: original.safetensors
threads: 1
checkpoint_every: {steps: 1}
"""
CASES = {
    "eupmu": "method: {name: eupmu, epochs: 4, lr: 0.01, batch_size: 32}",
    "scrub_rewind": "method: {name: scrub_rewind, epochs: 3, lr: 0.01, batch_size: 32}\nholdout: 0.3",
    "auto, two points": "budget: 2.0\nholdout: 0.6\ntime_limit: 2h",
}
SHARED = CASES | {"auto, two points": "method: {name: auto, lr: 0.02, epochs: 3}\nbudget: 2.0\nholdout: 0.6"}
"""What several processes are asked for: they search no rate."""
SIZES = {"a million": 2**20, "ten million": 10 * 2**20, "a hundred million": 100 * 2**20}
MOST = 6
"""Kills of one run, at most; then it is left alone."""


def survived(name: str, folder: Path, kills: int, luck: random.Random, ranks: int) -> dict[str, Any]:
    """Return what killing runs of a request came to."""
    request = folder / "request.yaml"
    request.write_text(REQUEST + (CASES if ranks == 1 else SHARED)[name] + "\n")
    expected, seconds = straight(request, folder / "straight", ranks)
    found, longest = list[Killed](), seconds
    while sum(run.kills for run in found) < kills:
        left = kills - sum(run.kills for run in found)
        found.append(killed(request, folder / f"run{len(found)}", longest, luck, most=min(MOST, left), ranks=ranks))
        # A machine that others use is faster at times: kills are to hit, so that the fastest run tells until when.
        longest = longest if found[-1].kills else min(longest, found[-1].seconds)
        print(name, found[-1].kills, found[-1].digests == expected, flush=True)
    return {
        "case": name,
        "kills": sum(run.kills for run in found),
        "saving": sum(run.saving for run in found),
        "runs": len(found),
        "identical": sum(run.digests == expected for run in found),
        "seconds": seconds,
    }


class Sized:
    """A part of a run whose state is a model with momentum.

    Args:
        weights: How many.
    """

    def __init__(self, weights: int) -> None:
        self.model = nn.Linear(1024, weights // 1024, bias=False)

    def state_dict(self) -> dict[str, Any]:
        """Return weights and momentum."""
        return {"model": self.model.state_dict(), "momentum": torch.zeros_like(self.model.weight)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the weights."""
        self.model.load_state_dict(state["model"])


def cost(name: str, folder: Path) -> dict[str, Any]:
    """Return what saving the state of a model of some size takes."""
    points = CheckpointManager(folder)
    points.register("run", Sized(SIZES[name]))
    times = []
    for _ in range(3):
        began = time.monotonic()
        points.save()
        times.append(time.monotonic() - began)
    began = time.monotonic()
    CheckpointManager(folder).load_newest()
    read = time.monotonic() - began
    size = points.list_files()[-1].stat().st_size
    return {"weights": SIZES[name], "seconds": statistics.median(times), "read": read, "bytes": size}


def main() -> None:
    """Kill, measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=102)
    parser.add_argument("--ranks", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    luck, cases = random.Random(0), []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        os.environ["EXPUNGE_KEY_FILE"] = str(folder / "key")
        (folder / "request.yaml").write_text(REQUEST)
        train_request(load_request(folder / "request.yaml"))
        for name in CASES:
            place = folder / name.replace(" ", "-")
            place.mkdir()
            (place / "original.safetensors").write_bytes((folder / "original.safetensors").read_bytes())
            cases.append(survived(name, place, options.kills // len(CASES), luck, options.ranks))
        alone = options.ranks == 1
        costs = [cost(name, folder / f"cost{number}") for number, name in enumerate(SIZES)] if alone else []
    machine = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, one thread"
    name, told = ("crash", "") if alone else ("crash-ranks", f" --ranks {options.ranks} --kills {options.kills}")
    record = {"study": name, "command": f"python benchmarks/crash.py{told}", "machine": machine, "cases": cases}
    found = record | ({"costs": costs} if alone else {"ranks": options.ranks})
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
