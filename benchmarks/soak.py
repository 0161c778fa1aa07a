"""Two hundred random streams of requests: train, delete, kill, resume, delete again, purge, verify.

Run: python benchmarks/soak.py     (about ten minutes of two cores, 30 at most)

Writes docs/results/soak.json. Each stream trains a small network on rows of customers (scikit-learn's digits) and
answers two to four requests, each to the model that answered the one before, with one ledger. Runs and purges are
killed at random moments and resumed. At the end of a stream it is checked that

- nothing deleted is remembered better than held-out rows of the same classes;
- ledger and run folders agree, and the ledger verifies against a head that was noted elsewhere;
- no file holds what should be gone: the original's weights, deleted rows, ids, checkpoints, half-written files.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from soak_stream import Stream, warm_up

RESULT = Path(__file__).parents[1] / "docs" / "results" / "soak.json"


def run_stream(seed: int, folder: Path) -> dict[str, Any]:
    """Return what one stream did and which checks it failed."""
    place = folder / f"stream{seed:04d}"
    place.mkdir()
    stream = Stream(seed, place)
    try:
        stream.run()
    except Exception as error:  # a stream that breaks off is a finding, not the end of the soak
        stream.problems.append(f"broke off: {type(error).__name__}: {error}")
    return stream.record()


def summarize(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return counts of all streams, and how deleted rows stand beside held-out ones, kind by kind."""
    actions = Counter[str]()
    scores: dict[str, list[float]] = {}
    for record in records:
        actions.update(record["actions"])
        for score in record["memory"]:
            place = "later requests" if score["later"] else "the last request"
            scores.setdefault(f"{score['kind']}, {place}", []).append(score["z"])
    memory = {kind: summarize_scores(values) for kind, values in sorted(scores.items())}
    problems = [f"stream {record['seed']}: {problem}" for record in records for problem in record["problems"]]
    return {"streams": len(records), "actions": dict(sorted(actions.items())), "memory": memory, "problems": problems}


def summarize_scores(values: list[float]) -> dict[str, Any]:
    """Return number and mean of standard scores, and the standard score of all of them together."""
    combined = sum(values) / math.sqrt(len(values))
    return {"requests": len(values), "mean_z": statistics.fmean(values), "combined_z": combined}


def main() -> None:
    """Run the streams, several at once, and write the record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first stream")
    parser.add_argument("--minutes", type=float, default=30.0, help="no stream begins after this time")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began, records = time.monotonic(), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as made, ThreadPoolExecutor(options.jobs) as pool:
        folder = Path(made)
        os.environ["EXPUNGE_KEY_FILE"] = str(folder / "key")
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        warm_up()

        def limited(seed: int) -> dict[str, Any] | None:
            in_time = time.monotonic() - began < 60 * options.minutes
            return run_stream(seed, folder) if in_time else None

        for record in pool.map(limited, range(options.first, options.first + options.streams)):
            if record is not None:
                records.append(record)
                print(record["seed"], record["actions"], record["problems"], flush=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, one thread a stream"
    took = {"minutes": round((time.monotonic() - began) / 60, 1), "jobs": options.jobs, "machine": machine}
    given = f"--streams {options.streams} --minutes {options.minutes:g} --jobs {options.jobs}"
    document = {"study": "soak", "command": f"python benchmarks/soak.py {given}", **took, **summarize(records)}
    options.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
