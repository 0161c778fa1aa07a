"""What does one update of each surgery cost, compared with plain fine-tuning on the same two batches?

Run: make bench, or python benchmarks/step_cost.py --rounds 20 --threads 1          (some minutes)

The floor is forward, backward and optimiser's step (SGD, momentum .9, weight decay 5e-4) of plain fine-tuning, written
without Expunge, in the cheaper of two ways: *joint*, one forward over the union of both batches, and *split*, one
forward and backward on each half with accumulated gradients. Everything is timed in one process, by turns, in a new
random order every round; peaks of memory come from one process each. Prints tables and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from update_candidates import AIMS, MASKED, MEMORY_AIMS, NETWORKS, WAYS, Workload, names
from update_memory import ALLOCATOR, RESOLVED, leanest, measurable, peaks
from update_table import show
from update_timing import Seconds, cheapest, ratios, spread, timed

import expunge

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "step-cost.json"
WARM_UP = 2
QUICK_ROUNDS, QUICK_BATCH = 2, 4


def options() -> argparse.Namespace:
    """Return the command's options; ``--quick`` changes the defaults of some."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, help="rounds that count (20; quick: 2)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch on the CPU")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--batch", type=int, help="examples on each side (resnet18 32, small_cnn 64; quick: 4)")
    parser.add_argument("--policy", choices=WAYS, default="frozen", help="of normalisation layers (frozen)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help=f"where to write ({RESULTS.name} in docs/results; quick: nowhere)")
    parser.add_argument("--quick", action="store_true", help="does it work? Tiny batches; the figures mean nothing")
    found = parser.parse_args()
    found.rounds = found.rounds or (QUICK_ROUNDS if found.quick else 20)
    found.batch = found.batch or (QUICK_BATCH if found.quick else None)
    found.json = found.json or (None if found.quick else RESULTS)
    return found


def measured(network: str, chosen: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Return one network's figures."""
    batch, remembered = chosen.batch or NETWORKS[network].batch, measurable(chosen.device)
    steps = WARM_UP + chosen.rounds + (len(names(chosen.policy)) if remembered else 0)
    task = progress.add_task(NETWORKS[network].title, total=steps)
    case = (network, batch, chosen.policy, chosen.device)

    def tick() -> None:
        progress.advance(task)

    found = peaks(*case, chosen.threads, tick) if remembered else None
    seconds = timed(*case, chosen.rounds, WARM_UP, tick)
    return summary(Workload(*case), seconds, found)


def summary(work: Workload, seconds: Seconds, found: dict[str, list[int]] | None) -> dict[str, Any]:
    """Return what is published of one network's measurements."""
    ways, size = WAYS[work.policy], work.parameter_bytes()
    floor, lean = cheapest(seconds, ways), leanest(found, ways) if found else None
    paired = ratios(seconds, floor)
    resolved = size >= RESOLVED or work.device != "cpu"
    aims = AIMS if (work.policy, work.device) == ("frozen", "cpu") else {}
    rows = {}
    for name, own in seconds.items():
        ratio = spread(paired[name])
        row = {"ratio": ratio, "aim": aim(aims.get(name), ratio["median"]), "seconds": spread(own)}
        row["memory"] = memory(name, found, lean, size, resolved) if found and lean else None
        row["seconds_by_round"] = [round(value, 6) for value in own]
        rows[name] = row
    return {
        "title": NETWORKS[work.network].title,
        "batch": [work.batch, work.batch],
        "input": list(work.forget[0].shape[1:]),
        "updates_per_turn": NETWORKS[work.network].updates,
        "parameter_bytes": size,
        "parameters_resolved": resolved,
        "floor": {"ways": list(ways), "time": floor, "memory": lean, "sentence": sentence(paired, found, floor, lean)},
        "candidates": rows,
    }


def memory(name: str, found: dict[str, list[int]], lean: str, size: int, resolved: bool) -> dict[str, Any]:
    """Return one candidate's peak, and by how many times the parameters' bytes it lies above the floor's."""
    peak = statistics.median(found[name])
    above = round((peak - statistics.median(found[lean])) / size, 4) if resolved else None
    return {
        "peak_bytes": int(peak),
        "above_floor_in_parameters": above,
        "aim": aim(MEMORY_AIMS.get(name), above) if above is not None else None,
        "bytes_by_update": found[name],
    }


def aim(at_most: float | None, value: float) -> dict[str, Any] | None:
    """Return an aim and whether it is met; None where there is none."""
    return None if at_most is None else {"at_most": at_most, "met": value <= at_most}


def sentence(paired: dict[str, list[float]], found: dict[str, list[int]] | None, floor: str, lean: str | None) -> str:
    """Return which way of plain fine-tuning is the floor, and by how much it won."""
    ways = [name for name in ("joint", "split") if name in paired]
    losers = [f"; the {way} way takes {statistics.median(paired[way]):.3f} of it" for way in ways if way != floor]
    words = f"Floor of time: plain fine-tuning, {floor} way{''.join(losers)}."
    if found is None or lean is None:
        return f"{words} Peak memory is not measured on this system."
    least = statistics.median(found[lean])
    losers = [f"; the {way} way {statistics.median(found[way]) / 1e6:.1f}" for way in ways if way != lean]
    return f"{words} Floor of memory: {lean} way, {least / 1e6:.1f} MB{''.join(losers)}."


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def conditions(chosen: argparse.Namespace) -> dict[str, Any]:
    """Return under which conditions the figures were taken."""
    cuda = torch.device(chosen.device).type == "cuda"
    return {
        "what": "time and peak memory of one update, relative to plain fine-tuning on the same two batches",
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "expunge": expunge.__version__},
        "cpu": processor(),
        "accelerator": torch.cuda.get_device_name(chosen.device) if cuda else None,
        "device": chosen.device,
        "threads": chosen.threads,
        "policy": chosen.policy,
        "optimiser": "SGD, momentum 0.9, weight decay 5e-4, fp32",
        "objectives": "cross entropy on both sides",
        "masked": f"'{MASKED}' is fixed under the guard of a saliency mask that keeps half of the weights",
        "quick": chosen.quick,
        "rounds": chosen.rounds,
        "warm_up_rounds": WARM_UP,
        "spread": "quartiles over rounds; ratios are paired within a round",
        "allocator": {"time": "as the system has it", "memory": ALLOCATOR if not cuda else "caching allocator"},
    }


def main() -> None:
    """Measure, print and write."""
    chosen = options()
    torch.set_num_threads(chosen.threads)
    document = conditions(chosen)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        document["networks"] = {network: measured(network, chosen, progress) for network in chosen.networks}
    show(document, Console())
    if chosen.json is not None:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
