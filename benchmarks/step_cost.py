"""What does one update of each surgery, and of each mask, cost?

Run: make bench, or python benchmarks/step_cost.py --threads 2        (about a quarter of an hour)
     python benchmarks/step_cost.py --only lur,keep_unless_harmful --networks resnet18  (a part, which is printed alone)

Surgeries are compared with a floor, plain fine-tuning on the same two batches: forward, backward and optimiser's step
(SGD, momentum .9, weight decay 5e-4), written without Expunge, in the cheaper of two ways: *joint*, one forward over
the union of both batches, and *split*, one forward and backward on each half with accumulated gradients. Masks are
compared with the same surgery without a mask; a feasible mask looks at a further batch every tenth update, and its time
is the mean over whole tens. Everything is timed in one process, by turns, in a new random order every round; peaks of
memory come from one process each. Prints tables in Markdown; a run of everything writes JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from tables import read_object, step_cost
from update_candidates import WAYS, absent, base_of, build, in_bf16, mask_of, masked, surgeries
from update_memory import ALLOCATOR, measurable, peaks
from update_summary import summary
from update_timing import (
    Plan,
    Seconds,
    allocator,
    for_masks,
    for_surgeries,
    steady,
    timed,
)
from update_workload import NETWORKS, Workload

import expunge

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "step-cost.json"
WARM_UP = 2
ROUNDS, CYCLES, QUICK_BATCH = 10, 3, 4


def options() -> argparse.Namespace:
    """Return the command's options; ``--quick`` changes the defaults of some."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", help="surgeries and masks, with commas between")
    parser.add_argument("--rounds", type=int, help=f"rounds of surgeries that count ({ROUNDS}; quick: 2)")
    parser.add_argument("--cycles", type=int, help=f"tens of updates of masks that count ({CYCLES}; quick: 1)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch on the CPU")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--batch", type=int, help="examples on each side (resnet18 32, small_cnn 64; quick: 4)")
    parser.add_argument("--policy", choices=WAYS, default="frozen", help="of normalisation layers (frozen)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help=f"the file ({RESULTS.name} in docs/results; of a part: none)")
    parser.add_argument("--no-memory", action="store_true", help="times alone")
    parser.add_argument("--quick", action="store_true", help="does it work? Tiny batches; the figures mean nothing")
    found = parser.parse_args()
    found.rounds = found.rounds or (2 if found.quick else ROUNDS)
    found.cycles = found.cycles or (1 if found.quick else CYCLES)
    found.batch = found.batch or (QUICK_BATCH if found.quick else None)
    whole = found.only is None and set(found.networks) == set(NETWORKS) and not found.quick
    found.json = found.json or (RESULTS if whole else None)
    found.remember = measurable(found.device) and not found.no_memory
    found.surgeries, found.masked = chosen_of(parser, found.only)
    return found


def chosen_of(parser: argparse.ArgumentParser, only: str | None) -> tuple[list[str], list[str]]:
    """Return the surgeries and the masked surgeries that are to be measured."""
    if only is None:
        return surgeries(), masked()
    wanted = {name.strip() for name in only.split(",")}
    found = [name for name in surgeries() if name in wanted]
    under = [name for name in masked() if mask_of(name) in wanted]
    unknown = wanted - set(found) - {mask_of(name) for name in under}
    if unknown:
        parser.error(f"no surgery or mask that is installed has the name {', '.join(sorted(unknown))}")
    return found, under


def bases(under: Sequence[str]) -> list[str]:
    """Return the surgeries that masked ones are compared with."""
    return sorted({base_of(name) for name in under})


def weighed(chosen: argparse.Namespace) -> list[str]:
    """Return the candidates whose peaks are measured."""
    plain = [*WAYS[chosen.policy], *chosen.surgeries]
    rough = [name for name in map(in_bf16, chosen.masked) if name is not None]
    return [*dict.fromkeys([*plain, *bases(chosen.masked)]), *chosen.masked, *rough]


def plans(network: str, chosen: argparse.Namespace) -> list[tuple[list[str], Plan]]:
    """Return what is timed together and how often: the surgeries beside the floor, the masks beside their bases."""
    updates, found = NETWORKS[network].updates, []
    found.append(([*WAYS[chosen.policy], *chosen.surgeries], for_surgeries(updates, chosen.rounds, WARM_UP)))
    if chosen.masked:
        found.append(([*bases(chosen.masked), *chosen.masked], for_masks(updates, chosen.cycles, 1)))
    return found


def measured(network: str, chosen: argparse.Namespace, run: str, progress: Progress) -> dict[str, Any]:
    """Return one network's figures."""
    case = (network, chosen.batch or NETWORKS[network].batch, chosen.policy, chosen.device)
    every = plans(network, chosen)
    steps = sum(plan.warm_up + plan.rounds * plan.blocks for _, plan in every) + chosen.remember * len(weighed(chosen))
    task = progress.add_task(NETWORKS[network].title, total=steps)

    def tick() -> None:
        progress.advance(task)

    def clock(names: list[str], plan: Plan) -> Seconds:
        return timed({name: build(name, Workload(*case)) for name in names}, plan, chosen.device, tick)

    found = peaks(weighed(chosen), *case, chosen.threads, tick) if chosen.remember else None
    first, *second = [clock(*plan) for plan in every]
    return summary(Workload(*case), first, second[0] if second else {}, found, run) | {"not_installed": absent()}


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
        "what": "time and peak memory of one update: of surgeries over plain fine-tuning on the same two batches, of "
        "masks over their surgery without a mask",
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "expunge": expunge.__version__},
        "cpu": processor(),
        "accelerator": torch.cuda.get_device_name(chosen.device) if cuda else None,
        "device": chosen.device,
        "threads": chosen.threads,
        "policy": chosen.policy,
        "optimiser": "SGD, momentum 0.9, weight decay 5e-4, fp32",
        "objectives": "cross entropy on both sides",
        "quick": chosen.quick,
        "rounds": chosen.rounds,
        "cycles": chosen.cycles,
        "warm_up_rounds": WARM_UP,
        "spread": "quartiles over rounds, of masks over tens of updates; ratios are paired within a round",
        "allocator": {"time": allocator(), "memory": ALLOCATOR if not cuda else "caching allocator"},
    }


def run_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return what a row's run says of it; its minutes are filled in at the end."""
    keys = ("date", "versions", "rounds", "cycles", "allocator")
    arguments = [str(Path(word).name) if word.endswith(".json") else word for word in sys.argv[1:]]
    command = " ".join(["python benchmarks/step_cost.py", *arguments])
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    return {"command": command, "load_before": load, **{key: document[key] for key in keys}}


def main() -> None:
    """Measure, print and write; what is finished is written after every network."""
    chosen = options()
    steady()
    torch.set_num_threads(chosen.threads)
    console, document, began = Console(stderr=True), conditions(chosen), time.monotonic()
    name = datetime.now(UTC).isoformat(timespec="seconds")
    document |= {"runs": {name: run_of(document)}, "networks": {}}
    for missing, cure in absent().items():
        console.print(f"Not installed: {missing}; {cure}.", soft_wrap=True, markup=False)
    with Progress(console=console, transient=True) as progress:
        for network in chosen.networks:
            document["networks"][network] = measured(network, chosen, name, progress)
            document["runs"][name]["minutes"] = round((time.monotonic() - began) / 60, 1)
            if chosen.json is not None:
                chosen.json.parent.mkdir(parents=True, exist_ok=True)
                chosen.json.write_text(json.dumps(document, indent=1) + "\n")
    print(step_cost(json.loads(json.dumps(document), object_hook=read_object)))


if __name__ == "__main__":
    main()
