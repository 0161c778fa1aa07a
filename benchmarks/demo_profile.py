"""Where does the time of `expunge demo` go?

Run: python benchmarks/demo_profile.py      (half a minute of one core)

Processor seconds of one process with one thread, from its start to its last line. Each part's functions are wrapped;
a part's time is what is spent in it and not in another part that it calls.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from run_profile import PLACES, shares

import expunge
from expunge.api import model_comparison
from expunge.demo import run, run_demo

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "demo-profile.json"
STARTING, MEASURING, REPORTING = "starting, with the imports", "measuring", "report and tables"
OWN: list[tuple[Any, str, str]] = [
    (model_comparison.ModelComparison, "trials", MEASURING),
    (run, "gap_floors", MEASURING),
    (run, "write_report", REPORTING),
    (run, "print_tables", REPORTING),
]


def profiled(seeds: int) -> dict[str, Any]:
    """Return processor seconds and shares of the demo."""
    torch.set_num_threads(1)
    before = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        found = shares(lambda: run_demo(out=Path(folder, "demo"), seeds=seeds, threads=1), [*PLACES, *OWN])
    seconds = found["seconds"] + before
    own = {STARTING: before, **{name: part["seconds"] for name, part in found["parts"].items()}}
    parts = {name: {"seconds": round(spent, 3), "share": round(spent / seconds, 4)} for name, spent in own.items()}
    return {"seeds": seeds, "seconds": round(seconds, 2), "parts": parts}


def main() -> None:
    """Measure, write and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    document = {
        "study": "demo-profile",
        "what": "where the processor time of `expunge demo` goes",
        "command": "python benchmarks/demo_profile.py",
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "expunge": expunge.__version__},
        "machine": platform.machine(),
        **profiled(chosen.seeds),
    }
    chosen.json.write_text(json.dumps(document, indent=1) + "\n")
    print(chosen.json)


if __name__ == "__main__":
    main()
