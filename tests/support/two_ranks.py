"""Two gloo ranks on this machine that make the updates of every case, and compare them with those of one process."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import rank_costs
import torch
import torch.multiprocessing as mp
from surgery_table import TABLE
from torch import distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from two_runs import runs

from expunge import registry
from expunge.batch import Predictor
from expunge.engine import Stepper
from expunge.errors import ExpungeError, MissingExtraError
from expunge.masks import Mask, SequentialTest, SignAgreement
from expunge.objectives import AdaptiveAscent, CrossEntropy, HoldoutDistillation, L1Penalty, Objective, RandomLabel
from expunge.pair import Pair
from expunge.surgery import BudgetSchedule, LURSurgery, Projection, Surgery, WeightedSum
from expunge.testing import CLASSIFIER as BENCH

UPDATES = 4
COUNTED = ("weighted_sum", "eupmu", "projection", "weighted_sum + saliency")
FORGET, RETAIN, FURTHER, PROBE = 16, 20, 16, 9
SHARES = (((5, 11), (13, 7)), ((0, 16), (20, 0)), ((8, 8), (10, 10)), ((16, 0), (20, 0)))
"""Examples of each side on each rank, by update: unequal halves, an empty local half, a rank without any."""
SHARDS = hasattr(torch.cpu.Stream(), "record_event")
"""Whether this torch's ``fully_shard`` works on processors; that of 2.6 does not."""
WITHOUT = f"torch {torch.__version__} shards nothing on processors"


class Case(NamedTuple):
    """What is done on both ranks and on one."""

    surgery: Callable[[], Surgery] = WeightedSum
    mask: Callable[[], Mask] | None = None
    gradient_accumulation_steps: int = 1
    kind: torch.dtype = torch.float32
    settings: Mapping[str, Any] = {}
    raw: bool = False
    wrap: Callable[[nn.Module], nn.Module] = DistributedDataParallel
    objectives: Callable[[], Pair[Objective]] = BENCH.objectives
    held: slice = slice(None)
    prepare: Callable[[nn.Module, Optimizer], Any] | None = None


class Undistributed(WeightedSum):
    """A surgery that says that ranks cannot share it."""

    distributed = False


class UndistributedTolerant(Projection):
    """A surgery with a tolerance that says so."""

    distributed = False


class UndistributedMask(SignAgreement):
    """A mask that says so."""

    distributed = False


class FullyShardedDataParallel(nn.Module):
    """A stand-in for a wrapper that hides gradients: it is known by its name."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.module = model


def bucket_views(model: nn.Module) -> nn.Module:
    """Wrap a model so that its gradients live in the buckets that are reduced."""
    return DistributedDataParallel(model, gradient_as_bucket_view=True)


def sharded(model: nn.Module) -> nn.Module:
    """Give each rank a part of every weight."""
    mesh = init_device_mesh("cpu", (2,))
    for part in (*model, model):
        if any(True for _ in part.parameters()):
            fully_shard(part, mesh=mesh)
    return model


def full(value: torch.Tensor) -> torch.Tensor:
    """Return a tensor whole, whether or not ranks have parts of it."""
    return value.full_tensor() if isinstance(value, DTensor) else value.clone()


def accelerated(model: nn.Module, optimizer: Optimizer) -> Any:
    """Let Accelerate wrap a model and its optimizer, in the processes that are there."""
    from accelerate import Accelerator

    own = {"RANK": str(dist.get_rank()), "LOCAL_RANK": str(dist.get_rank()), "WORLD_SIZE": "2"}
    os.environ.update(own, OMP_NUM_THREADS="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
    return Accelerator(cpu=True).prepare(model, optimizer)


def adaptive() -> Pair[Objective]:
    """Return a forget objective that weighs the examples of a batch against one another."""
    return Pair(AdaptiveAscent(), CrossEntropy())


def penalized() -> Pair[Objective]:
    """Return a retain objective that reads the weights."""
    return Pair(RandomLabel(), L1Penalty())


def drawing() -> Pair[Objective]:
    """Return a forget objective that draws from the update's generator."""
    return Pair(HoldoutDistillation(), CrossEntropy())


@dataclass
class Trace:
    """What the updates of a case left."""

    weights: list[torch.Tensor]
    directions: list[torch.Tensor]
    rows: torch.Tensor
    state: dict[str, Any]


def cases() -> dict[str, Case]:
    """Return every surgery and every mask, whole, in micro-batches and in float64."""
    masks = {name: entry.target for name, entry in registry.list_entries("masks").items()}
    rules = {name: Case(make) for name, make in TABLE.items()}
    rules |= {f"mask {name}": Case(mask=make) for name, make in masks.items()}
    more = {f"{name}, micro-batches": case._replace(gradient_accumulation_steps=3) for name, case in rules.items()}
    exact = {f"{name}, float64": case._replace(kind=torch.float64) for name, case in rules.items()}
    parts = {
        f"{name}, fully_shard": case._replace(wrap=sharded, gradient_accumulation_steps=3)
        for name, case in rules.items()
    }
    return rules | more | exact | parts | special()


def special() -> dict[str, Case]:
    """Return what else must not matter."""
    return {
        "pairs of tensors": Case(Projection, raw=True),
        "bucket views": Case(Projection, wrap=bucket_views),
        "bucket views, mask": Case(Projection, SignAgreement, wrap=bucket_views),
        "clipped": Case(Projection, settings={"max_grad_norm": 0.05}),
        "clipped, fully_shard": Case(Projection, settings={"max_grad_norm": 0.05}, wrap=sharded),
        "pairs of tensors, fully_shard": Case(Projection, raw=True, wrap=sharded),
        "drawn predictions": Case(objectives=drawing),
        "through Accelerate": Case(Projection, wrap=lambda model: model, prepare=accelerated),
        "scaled": Case(Projection, settings={"scaler": torch.amp.GradScaler("cpu", init_scale=256.0)}),
    }


def refusals() -> dict[str, Case]:
    """Return what ranks cannot share."""
    return {
        "a surgery that ranks can share": Case(Undistributed),
        "LURSurgery(": Case(lambda: LURSurgery(mode="exact")),
        "BudgetSchedule(": Case(lambda: BudgetSchedule(UndistributedTolerant())),
        "a mask that ranks can share": Case(mask=UndistributedMask),
        "SequentialTest(": Case(mask=lambda: SequentialTest(UndistributedMask())),
        "whole batches for AdaptiveAscent": Case(objectives=adaptive),
        "batch_norm 'frozen'": Case(settings={"batch_norm": "joint"}),
        "all weights that require a gradient": Case(held=slice(0, 3)),
        "objectives that need no weights": Case(objectives=penalized, wrap=sharded),
        "a wrapper that leaves gradients with the weights": Case(wrap=FullyShardedDataParallel),
    }


def local(batch: Any, rank: int, shares: tuple[int, int]) -> Any:
    """Return a rank's part of a batch."""
    low = sum(shares[:rank])
    return batch.slice(low, low + shares[rank])


def played(case: Case, rank: int | None) -> Trace:
    """Return what some updates leave: of one process where the rank is None, else of this rank's part."""
    model, surgery, split = BENCH.network(case.kind), case.surgery(), BENCH.split(case.kind)
    objectives, mask = case.objectives(), None if case.mask is None else case.mask()
    for part in (*objectives, *([] if mask is None else [mask])):
        part.prepare(Predictor(model), replace(split, holdout=split.retain))
    wrapped = model if rank is None else case.wrap(model)
    weights = list(wrapped.parameters())
    # A dual divides the change of a loss by the rate: a low rate would show the rounding of losses and nothing else.
    optimizer = torch.optim.SGD(weights[case.held], lr=0.5, momentum=0.9, weight_decay=5e-4)
    stepped = optimizer
    if rank is not None and case.prepare is not None:
        wrapped, stepped = case.prepare(wrapped, optimizer)
    settings = copy.deepcopy(dict(case.settings))
    stepper = Stepper(
        wrapped,
        stepped,
        surgery,
        objectives,
        mask,
        gradient_accumulation_steps=case.gradient_accumulation_steps,
        **settings,
    )
    directions: list[torch.Tensor] = []
    optimizer.register_step_pre_hook(lambda *_: directions.extend(full(p.grad) for p in weights))
    rows = [updated(stepper, case, rank, index) for index in range(UPDATES)]
    state = dict(surgery.state_dict())
    if mask is not None:
        state |= {f"mask {name}": value for name, value in mask.state_dict().items()}
    state = {name: full(value) for name, value in state.items() if isinstance(value, torch.Tensor)}
    return Trace([full(weight.detach()) for weight in weights], directions, torch.stack(rows), state)


def updated(stepper: Stepper, case: Case, rank: int | None, index: int) -> torch.Tensor:
    """Make one update and return its telemetry."""

    def part(number: int, size: int, shares: tuple[int, int]) -> Any:
        batch = BENCH.batch(number, case.kind, size)
        batch = batch if rank is None else local(batch, rank, shares)
        return ((batch.inputs, batch.targets) if len(batch) else None) if case.raw else batch

    forget, retain = SHARES[index]
    return stepper(
        part(2 * index, FORGET, forget),
        part(2 * index + 1, RETAIN, retain),
        lambda: part(500 + index, PROBE, (4, 5)),
        extra_batches=lambda of, k: part(1000 * index + 2 * k + (of == "retain") + 100, FURTHER, (5, 11)),
        log_gradients=index % 2 == 0,
    ).row


def largest(first: Any, second: Any) -> float:
    """Return the largest difference of two lists of tensors, in units of what they hold where that is more than 1."""
    worst = 0.0
    for one, other in zip(first, second, strict=True):
        one, other = one.double(), other.double()
        if not torch.equal(one.isfinite(), other.isfinite()):
            return float("inf")
        gap = ((one - other).abs() / one.abs().clamp(min=1.0)).nan_to_num(0.0)
        worst = max(worst, float(gap.max()) if gap.numel() else 0.0)
    return worst


def compared(case: Case, rank: int) -> dict[str, Any]:
    """Return the differences between this rank's updates and those of one process."""
    if case.wrap is sharded and not SHARDS:
        return {"missing": WITHOUT}
    try:
        many = played(case, rank)
    except (MissingExtraError, ModuleNotFoundError) as error:
        return {"missing": str(error)}
    except ExpungeError as error:
        return {"refused": str(error)}
    one = played(case, None)
    return {
        "weights": largest(one.weights, many.weights),
        "directions": largest(one.directions, many.directions),
        "rows": largest(one.rows, many.rows),
        "state": largest(one.state.values(), many.state.values()) if one.state else 0.0,
        "fingerprint": [float(piece.double().sum()) for piece in many.weights],
    }


def work(rank: int, folder: str) -> None:
    """Make all cases on one of two ranks, and leave the differences in a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    found = {name: compared(case, rank) for name, case in (cases() | refusals()).items()}
    found |= runs() | {"collectives": counted()}
    Path(f"{folder}/{rank}.json").write_text(json.dumps(found), encoding="utf-8")
    dist.barrier()
    # gloo's threads may abort an interpreter that ends in the usual way (pytorch issue 190489).
    os._exit(0)


def counted() -> dict[str, Any]:
    """Return how many collectives an update of some rules issues, by wrapper."""
    found: dict[str, Any] = {}
    for name in COUNTED:
        found[name] = {}
        wraps = {how: wrap for how, wrap in rank_costs.WRAPS.items() if how != "fsdp" or SHARDS}
        for how, wrap in wraps.items():
            candidate = rank_costs.Candidate(*rank_costs.candidates()[name], wrap)
            for _ in range(rank_costs.WARM_UP):
                candidate.update()
            found[name][how] = rank_costs.collectives(candidate)
    return found


def both(folder: str) -> list[dict[str, dict[str, Any]]]:
    """Run both ranks and return what each of them found, by case."""
    mp.spawn(work, (folder,), nprocs=2)
    return [json.loads(Path(f"{folder}/{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]
