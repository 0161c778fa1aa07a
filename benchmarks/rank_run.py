"""One request answered by one process and by two: the same figures, and how far the weights are apart.

Run: python benchmarks/rank_run.py --data DATA      (writes docs/results/rank-run.json)

Two processes add the losses of their parts of a batch, which rounds otherwise than one sum does. What such rounding
alone comes to is shown beside it: one process that cuts every batch into two micro-batches.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import load_file

ROOT = Path(__file__).parents[1]
REQUEST = ROOT / "examples" / "fashion-mnist-two-ranks.yaml"
OUT = ROOT / "docs" / "results" / "rank-run.json"
METHODS = ("eupmu",)
TWO = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
WAYS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "one process": ([], {}),
    "one process, two micro-batches": ([], {"gradient_accumulation_steps": 2}),
    "two processes": (TWO, {}),
}


def answered(folder: Path, data: Path, method: str, way: str) -> dict[str, Any]:
    """Answer the request in one way; return its figures."""
    launcher, changes = WAYS[way]
    request = yaml.safe_load(REQUEST.read_text(encoding="utf-8")) | changes
    out = folder / f"{method} {way}"
    settings = {"method": request["method"] | {"name": method}, "out": str(out)}
    request |= settings | {"checkpoint": str(folder / "original.safetensors")}
    file = folder / "request.yaml"
    file.write_text(yaml.safe_dump(request), encoding="utf-8")
    command = [sys.executable, "-m", *launcher, "expunge", "run", str(file), "--data-dir", str(data), "--overwrite"]
    if not (out / "result.json").exists():
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    (part,) = json.loads((out / "result.json").read_text(encoding="utf-8"))["requests"]
    scores = {row["role"]: row["scores"] for row in part["rows"]}
    names = ("ua", "ra", "ta", "seconds")
    return {name: scores["method"][name]["mean"] for name in names} | {
        "original": {name: scores["original"][name]["mean"] for name in names[:3]}
    }


def differences(first: Path, second: Path) -> dict[str, float]:
    """Return the largest and the root mean square difference of two files' weights."""
    one, other = load_file(first), load_file(second)
    gaps = [(one[name].double() - other[name].double()).flatten() for name in one]
    squares = sum(float(gap.square().sum()) for gap in gaps) / sum(gap.numel() for gap in gaps)
    return {"largest": max(float(gap.abs().max()) for gap in gaps), "rms": squares**0.5}


def main() -> None:
    """Run everything that is not there yet and write the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "rank-run", help="what was run before is taken")
    given = parser.parse_args()
    folder, data, rows = given.work.resolve(), given.data.resolve(), {}
    folder.mkdir(parents=True, exist_ok=True)
    for method in METHODS:
        found = {way: answered(folder, data, method, way) for way in WAYS}
        weights = {way: folder / f"{method} {way}" / "unlearned.safetensors" for way in WAYS}
        for way in list(WAYS)[1:]:
            found[way]["apart"] = differences(weights["one process"], weights[way])
        moved = differences(folder / "original.safetensors", weights["one process"])["rms"]
        rows[method] = {"ways": found, "moved": moved}
    told = {
        "study": "rank-run",
        "what": "one request on one process and on two",
        "command": "python benchmarks/rank_run.py --data DATA",
        "request_file": yaml.safe_load(REQUEST.read_text(encoding="utf-8")),
    }
    OUT.write_text(json.dumps({**told, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
