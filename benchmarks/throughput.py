"""How many images per second do our loops process, beside the bare training loop?

Run: python benchmarks/throughput.py --threads 1 --data-dir DATA      (about five minutes of one core)
     python benchmarks/throughput.py --device cuda --json FILE        (on an accelerator)

The bare loop is forward, backward and the optimiser's step on batches that are already where the network is. Ours is
what `expunge train` and `unlearn` do, timed in their own callbacks. All are in one process, by turns; a ratio is taken
within a round, so that what else the machine does falls on both; on one thread of a processor it is processor
time. On an accelerator the updates of unlearning run with
torch's synchronisation check set to "error". The last part is a request on Fashion-MNIST, by what its time goes to.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from loop_timing import CASES, LOOPS
from run_profile import profile
from update_timing import allocator, steady

import expunge

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "throughput.json"
ROUNDS = {"resnet18": 5, "resnet20": 6, "resnet8": 8}
MODEL, SUBSET = "resnet8", 1500


def options() -> argparse.Namespace:
    """Return the command's options; ``--quick`` changes the defaults of some."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch on the CPU")
    parser.add_argument("--networks", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--batch", type=int, help="examples in a batch (resnet18 32, others 64; quick: 4)")
    parser.add_argument("--rounds", type=int, help="that count (5 to 8; quick: 2)")
    parser.add_argument("--data-dir", type=Path, help="folder with Fashion-MNIST; without it no request is profiled")
    parser.add_argument("--json", type=Path, help=f"the file ({RESULTS.name} in docs/results; quick: none)")
    parser.add_argument("--quick", action="store_true", help="does it work? The figures mean nothing")
    found = parser.parse_args()
    found.batch = found.batch or (4 if found.quick else None)
    found.rounds = found.rounds or (2 if found.quick else None)
    found.json = found.json or (None if found.quick else RESULTS)
    return found


def conditions(chosen: argparse.Namespace) -> dict[str, Any]:
    """Return under which conditions the figures were taken."""
    cuda = torch.device(chosen.device).type == "cuda"
    return {
        "study": "throughput",
        "what": "images per second of training and unlearning beside the bare training loop; where a run's time goes",
        "command": " ".join(["python benchmarks/throughput.py", *arguments()]),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "expunge": expunge.__version__},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "accelerator": torch.cuda.get_device_name(chosen.device) if cuda else None,
        "device": chosen.device,
        "threads": chosen.threads,
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "clock": "processor seconds" if (chosen.device, chosen.threads) == ("cpu", 1) else "elapsed seconds",
        "spread": "quartiles over rounds; a ratio is taken within a round",
        "allocator": allocator(),
        "quick": chosen.quick,
    }


def arguments() -> list[str]:
    """Return the command's arguments without the names of folders."""
    words = sys.argv[1:]
    return ["DATA" if before == "--data-dir" else word for before, word in zip(["", *words], words, strict=False)]


def main() -> None:
    """Measure, write and tell."""
    chosen = options()
    steady()
    torch.set_num_threads(chosen.threads)
    began, document = time.perf_counter(), conditions(chosen)
    document["loops"] = {
        kind: {name: loop(name, chosen.rounds or ROUNDS[name], chosen.device, chosen.batch) for name in chosen.networks}
        for kind, loop in LOOPS.items()
    }
    if chosen.data_dir is not None:
        document["run"] = profile(MODEL, 60 if chosen.quick else SUBSET, chosen.device, chosen.data_dir)
    document["minutes"] = round((time.perf_counter() - began) / 60, 1)
    text = json.dumps(document, indent=1)
    if chosen.json is None:
        print(text)
        return
    chosen.json.write_text(text + "\n")
    print(chosen.json)


if __name__ == "__main__":
    main()
