"""What an update costs on two ranks: collectives and bytes per parameter, of every surgery and mask.

Run: python benchmarks/rank_costs.py     (two gloo ranks on this machine; writes docs/results/rank-costs.json)

Collectives are counted where they are issued: gradients of DistributedDataParallel by its communication hook, all
others by a dispatch mode. Bytes are those of the allocator, as the profiler saw them, of a network whose activations
are small: at rest after an update, and at its peak above that.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp
from torch import distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from expunge import registry
from expunge.batch import Batch, Predictor, Split
from expunge.data import TensorExamples
from expunge.engine import Stepper
from expunge.errors import MissingExtraError
from expunge.masks import Mask
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.pair import Pair
from expunge.surgery import Surgery, WeightedSum

OUT = Path(__file__).parents[1] / "docs" / "results" / "rank-costs.json"
WIDTH, LAYERS, CLASSES, EXAMPLES = 384, 8, 4, 4
WARM_UP, MEASURED = 2, 2
"""Updates before those that are measured: the first ones build buckets and masks' estimates."""

Wrap = Callable[[nn.Module], nn.Module]


def network() -> nn.Sequential:
    """Return layers of one size, so that each of them is an equal part of the weights."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(LAYERS - 1):
        layers += [nn.Linear(WIDTH, WIDTH), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, CLASSES))


def examples(seed: int, count: int = EXAMPLES) -> Batch:
    """Return a batch that the seed determines."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    return Batch(torch.randn(count, WIDTH, generator=generator), labels, torch.arange(count))


def split() -> Split:
    """Return sides for masks that look at them."""
    forget, retain = (TensorExamples(part.inputs, part.targets) for part in (examples(1, 16), examples(2, 32)))
    return Split(forget, retain, CLASSES)


class Candidate:
    """One surgery, perhaps with a mask, ready for updates on this rank.

    Args:
        surgery: Builds the surgery.
        mask: Builds the mask.
        wrap: What the network is put into.
    """

    def __init__(self, surgery: Callable[[], Surgery], mask: Callable[[], Mask] | None, wrap: Wrap) -> None:
        model, own = network(), None if mask is None else mask()
        if own is not None:
            own.prepare(Predictor(model), split())
        self.parameters = sum(weight.numel() for weight in model.parameters())
        self.model, self.number, self.buckets = wrap(model), 0, 0
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, foreach=True)
        self.stepper = Stepper(self.model, optimizer, surgery(), Pair(RandomLabel(), CrossEntropy()), own)
        if isinstance(self.model, DistributedDataParallel):
            # What DDP asks of a hook's annotations they cannot say as text.
            self.model.register_comm_hook(None, lambda _, bucket: self.counted(bucket))

    def counted(self, bucket: dist.GradBucket) -> Any:
        """Count a reduction of gradients."""
        self.buckets += 1
        return allreduce_hook(None, bucket)

    def update(self) -> None:
        """Make the next update."""
        self.number += 1
        seed = 1000 * self.number
        more = lambda of, k: examples(seed + 2 * k + (of == "retain") + 10)  # noqa: E731
        self.stepper(examples(seed), examples(seed + 1), lambda: examples(seed + 2), extra_batches=more)


class Issued(TorchDispatchMode):
    """Counts the collectives that are issued inside, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count and call."""
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # it comes again, as the collectives that it amounts to
        if "c10d" in func.namespace and "wait" not in func.__name__ and "wrap" not in func.__name__:
            self.counts[func.__name__.split(".")[0].strip("_")] += 1
        return func(*args, **(kwargs or {}))


def collectives(candidate: Candidate) -> dict[str, float]:
    """Return how many collectives of each kind an update issues."""
    before = candidate.buckets
    with Issued() as seen:
        for _ in range(MEASURED):
            candidate.update()
    found = {name: count / MEASURED for name, count in sorted(seen.counts.items())}
    return {"gradients": (candidate.buckets - before) / MEASURED, **found}


def peak_bytes(candidate: Candidate) -> int:
    """Return the most bytes that an update holds above those from before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        candidate.update()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(0, *accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))


def at_rest(candidate: Candidate) -> int:
    """Return the bytes of this rank's weights, optimiser, surgery and mask."""
    held = list(candidate.model.parameters())
    for state in candidate.stepper.optimizer.state.values():
        held += [value for value in state.values() if isinstance(value, torch.Tensor)]
    for part in (candidate.stepper.surgery, candidate.stepper.mask):
        own = {} if part is None else part.state_dict()
        held += [value for value in own.values() if isinstance(value, torch.Tensor)]
    local = [value.to_local() if hasattr(value, "to_local") else value for value in held]
    return sum(value.nbytes for value in local)


def measured(surgery: Callable[[], Surgery], mask: Callable[[], Mask] | None, wrap: Wrap) -> dict[str, Any]:
    """Return what an update costs on this rank."""
    candidate = Candidate(surgery, mask, wrap)
    for _ in range(WARM_UP):
        candidate.update()
    counts, peak, per = collectives(candidate), peak_bytes(candidate), candidate.parameters
    return {"collectives": counts, "rest": at_rest(candidate) / per, "peak": peak / per}


def sharded(model: nn.Module) -> nn.Module:
    """Give each rank a part of every weight; a layer is gathered at a time."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for part in model:
        if isinstance(part, nn.Linear):
            fully_shard(part, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def replicated(model: nn.Module) -> nn.Module:
    """Give each rank all weights; the gradient is one bucket, so that buckets are reductions."""
    return DistributedDataParallel(model, bucket_cap_mb=1000)


WRAPS: dict[str, Wrap] = {"ddp": replicated, "fsdp": sharded}


def candidates() -> dict[str, tuple[Callable[[], Surgery], Callable[[], Mask] | None]]:
    """Return every surgery, and every mask with constant weights, whose libraries are installed."""
    found: dict[str, Any] = {}
    for name, entry in registry.list_entries("surgeries").items():
        try:
            entry.target()
        except MissingExtraError:
            continue
        found[name] = (entry.target, None)
    masks = {name: (WeightedSum, entry.target) for name, entry in registry.list_entries("masks").items()}
    return found | {f"weighted_sum + {name}": pair for name, pair in masks.items()}


def work(rank: int, folder: str) -> None:
    """Measure everything on one of two ranks; the first one writes it down."""
    torch.set_num_threads(1)
    alone = {name: measured(*pair, lambda model: model) for name, pair in candidates().items()} if rank == 0 else {}
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    rows: dict[str, Any] = {}
    for name, pair in candidates().items():
        rows[name] = {how: measured(*pair, wrap) for how, wrap in WRAPS.items()}
        if rank == 0:
            rows[name]["alone"] = alone[name]
            print(name, rows[name], flush=True)
    if rank == 0:
        Path(folder, "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    dist.barrier()
    os._exit(0)


def main() -> None:
    """Measure and write the result."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, (folder,), nprocs=2)
        rows = json.loads(Path(folder, "rows.json").read_text(encoding="utf-8"))
    document = {
        "study": "rank-costs",
        "what": "collectives and bytes per parameter of an update",
        "command": "python benchmarks/rank_costs.py",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "ranks": 2,
        "units": LAYERS + 1,
        "parameters": sum(weight.numel() for weight in network().parameters()),
        "largest_unit": WIDTH * WIDTH + WIDTH,
        "optimiser": "AdamW, float32",
        "rows": rows,
    }
    OUT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
