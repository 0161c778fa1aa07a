"""Three gloo ranks whose shared runs end early in every way that can be arranged in a process, and are resumed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import killed_runs
import torch
import torch.multiprocessing as mp
from flat_calls import flat_unlearn
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from two_runs import problem

from expunge import Budget, RunConfig
from expunge.callbacks import LambdaCallback
from expunge.data.augment import crop_flip
from expunge.engine import PROCESS_SIGNALS, CheckpointManager, Interrupted, SaveInterval, checkpoints
from expunge.errors import ExpungeError
from expunge.weights import folder_lock

SIZE = 3
PLAIN: dict[str, Any] = {"lr": 0.05, "batch_size": 16}
RL: dict[str, Any] = {"method": "rl", "epochs": 1, **PLAIN}
RUNS: dict[str, dict[str, Any]] = {
    "random labels, augmented": {"method": "rl", "epochs": 1, "augment": crop_flip, **PLAIN},
    "a mask and micro-batches": {"method": "salun", "epochs": 1, "gradient_accumulation_steps": 2, **PLAIN},
    "a dual": {"method": "eupmu", "epochs": 1, **PLAIN},
    "rewound": {"method": "scrub_rewind", "epochs": 2, **PLAIN},
    "a running mean": {"ema_decay": 0.9, **RL},
    "wrapped by the caller": {"wrap": DistributedDataParallel, **RL},
    "inside a budget": {"method": "auto", "lr": 0.02, "epochs": 2, "budget": Budget(accuracy_points=20.0)},
}
KILLS = (2, -1)
"""After which updates."""


class Killed(BaseException):
    """Stands for a kill of all ranks at one update."""


def ran(
    folder: Path | None = None,
    on_step: Callable[[Any], None] = lambda _: None,
    augment: Any = None,
    wrap: Callable[[Any], Any] = lambda model: model,
    shared: bool = True,
    updates: int | None = 1,
    **settings: Any,
) -> dict[str, Any]:
    """Unlearn, saving after so many updates, and return what came of it; or the sentence of a refusal."""
    model, sides = problem(augment)
    points = None if folder is None else CheckpointManager(folder, SaveInterval(seconds=1e9, steps=updates))
    try:
        found = flat_unlearn(
            wrap(model),
            **sides,
            callbacks=[LambdaCallback(on_step=on_step)],
            config=RunConfig(distributed=shared, checkpoints=points),
            seed=3,
            **settings,
        )
    except ExpungeError as error:
        return {"refused": str(error)}
    made = hashlib.sha256()
    for value in found.model.state_dict().values():
        made.update(value.numpy().tobytes())
    spent = [] if found.budget is None else [look.spent for look in found.budget.evaluations]
    return {"weights": made.hexdigest(), "rows": found.history, "spent": spent}


def killed(folder: Path, at: int, **settings: Any) -> bool:
    """Begin a run, or go on with it, until all ranks are killed in an update; return whether it came so far."""

    def kill(progress: Any) -> None:
        if progress.step == at % progress.total:
            raise Killed

    try:
        found = ran(folder, kill, **settings)
    except Killed:
        return True
    finally:
        dist.barrier()
    if "refused" in found:
        raise AssertionError(found["refused"])
    return False


def own(folder: Path) -> list[Path]:
    """Return this rank's checkpoints, the oldest first."""
    return sorted((folder / f"rank-{dist.get_rank()}-of-{SIZE}").glob("state-*"))


def repeatedly(folder: Path, **settings: Any) -> dict[str, Any]:
    """Kill a run time after time, and go on with it to the end."""
    kills = sum(killed(folder, at, **settings) for at in KILLS)
    return {"kills": kills, **ran(folder, **settings)}


def one_behind(folder: Path) -> dict[str, Any]:
    """Go on where two ranks have written the newest checkpoint and the other one was killed before it had."""
    kept = folder.with_name("kept")
    killed(folder, 3, **RL)
    if dist.get_rank() == 1:
        shutil.copytree(own(folder)[0].parent, kept)
    dist.barrier()
    killed(folder, 4, **RL)
    if dist.get_rank() == 1:
        shutil.rmtree(own(folder)[0].parent)
        shutil.move(kept, folder / f"rank-1-of-{SIZE}")
    names = [path.name for path in own(folder)]
    return {"held": names, **ran(folder, **RL)}


def written_anew(folder: Path) -> dict[str, Any]:
    """Go on after a kill in which one rank had written a checkpoint anew that the others still have of the time before.

    Those of the time before hold another run: had one been taken, the bits would tell.
    """
    killed(folder, 3, **RL)
    if dist.get_rank() == 1:
        own(folder)[-1].unlink()
    killed(folder, 2, **RL)
    return {"held": [path.name for path in own(folder)], **ran(folder, **RL)}


def first_cut(folder: Path) -> dict[str, Any]:
    """Go on where a kill hit the very first checkpoint, which one rank had written."""
    killed(folder, 1, **RL)
    if dist.get_rank():
        for path in own(folder):
            path.unlink()
    dist.barrier()
    return ran(folder, **RL)


def lost(folder: Path) -> dict[str, Any]:
    """Go on where the checkpoints of one rank are gone, then where no number is on all, then where they are back."""
    killed(folder, 4, **RL)
    mine, aside = folder / f"rank-{dist.get_rank()}-of-{SIZE}", folder.with_name(f"aside{dist.get_rank()}")
    found = []
    for spoil in (lambda: shutil.move(mine, aside), lambda: own(folder)[-1].write_bytes(b"nothing")):
        shutil.copytree(mine, aside.with_suffix(".kept"), dirs_exist_ok=True)
        if dist.get_rank() == 2:
            spoil()
        elif spoil is not None:
            own(folder)[0].unlink(missing_ok=True)
        dist.barrier()
        found.append(ran(folder, **RL)["refused"].replace(str(folder), "…"))
        shutil.rmtree(mine, ignore_errors=True)
        shutil.move(aside.with_suffix(".kept"), mine)
        dist.barrier()
    return {"sentences": found, **ran(folder, **RL)}


def damaged(folder: Path) -> dict[str, Any]:
    """Go on where the newest checkpoint of one rank is cut off."""
    killed(folder, 4, **RL)
    if dist.get_rank() == 1:
        own(folder)[-1].write_bytes(own(folder)[-1].read_bytes()[:-9])
    dist.barrier()
    return ran(folder, **RL)


def another_number(folder: Path) -> dict[str, Any]:
    """Go on by one process with what three left, and by three with what one left."""
    killed(folder, 4, **RL)
    alone = folder.with_name(f"alone{dist.get_rank()}")

    def kill(_: Any) -> None:
        if own_files := list(alone.glob("state-*")):
            raise Killed(own_files)

    with suppress(Killed):
        ran(alone, kill, shared=False, **RL)
    first = ran(folder, shared=False, **RL)["refused"] if dist.get_rank() == 0 else ""
    dist.barrier()
    return {"sentences": [first, ran(folder.with_name("alone0"), **RL)["refused"]]}


def full_disk(folder: Path) -> dict[str, Any]:
    """Go on after one rank's disk was full."""
    real, written = checkpoints.save_state, []

    def save_state(state: Any, path: Path) -> Any:
        written.append(path)
        if dist.get_rank() == 2 and len(written) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(state, path)

    checkpoints.save_state = save_state
    try:
        sentence = ran(folder, **RL)["refused"]
    finally:
        checkpoints.save_state = real
    return {"sentences": [sentence.replace(str(folder), "…")], **ran(folder, **RL)}


def signalled(folder: Path) -> dict[str, Any]:
    """Go on after a signal to one rank, which ended all of them at one update."""
    seen: list[int] = []

    def strike(progress: Any) -> None:
        seen.append(progress.step)
        if dist.get_rank() == 1 and progress.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with PROCESS_SIGNALS.install():
        try:
            ran(folder, strike, **RL)
        except Interrupted as stopped:
            told = [stopped.code, seen[-1], own(folder)[-1].name]
    return {"told": told, **ran(folder, **RL)}


def struck_at_the_end(folder: Path) -> dict[str, Any]:
    """Go on after a signal to one rank in the last update."""

    def strike(progress: Any) -> None:
        if dist.get_rank() == 2 and progress.step == progress.total - 1:
            os.kill(os.getpid(), signal.SIGINT)

    with PROCESS_SIGNALS.install():
        try:
            ran(folder, strike, **RL)
        except Interrupted as stopped:
            told = [stopped.code]
    return {"told": told, **ran(folder, **RL)}


def in_use(folder: Path) -> dict[str, Any]:
    """Begin where another process is at work in one rank's folder."""
    if dist.get_rank() == 1:
        with folder_lock(folder / f"rank-1-of-{SIZE}"):
            found = ran(folder, **RL)
    else:
        found = ran(folder, **RL)
    return {"sentences": [found["refused"].replace(str(folder), "…")]}


def parts_of_weights(folder: Path) -> dict[str, Any]:
    """Share a model of which every rank has a part."""
    mesh = init_device_mesh("cpu", (SIZE,))
    return {"sentences": [ran(folder, wrap=lambda model: fully_shard(model, mesh=mesh), inplace=True, **RL)["refused"]]}


def on_accelerators(folder: Path) -> dict[str, Any]:
    """Go on where the group of all ranks is not one of processors, so that they agree in one of their own."""
    real, made = dist.new_group, []

    def new_group(**given: Any) -> Any:
        made.append(given["backend"])
        return real(**given)

    backend, dist.new_group, dist.get_backend = dist.get_backend, new_group, lambda *_: "nccl"
    try:
        killed(folder, 3, **RL)
        return {"made": made, **ran(folder, **RL)}
    finally:
        dist.new_group, dist.get_backend = real, backend


def counted(folder: Path) -> dict[str, Any]:
    """Count the collectives of numbers of a run that saves nothing, and of one that would if it took long enough."""
    real, calls = dist.all_reduce, []

    def all_reduce(*given: Any, **more: Any) -> Any:
        calls.append(len(given))
        return real(*given, **more)

    dist.all_reduce = all_reduce
    try:
        found = [(ran(place, updates=None, **RL), len(calls), calls.clear()) for place in (None, folder)]
    finally:
        dist.all_reduce = real
    return {"collectives": [number for _, number, _ in found], "updates": len(found[0][0]["rows"])}


SCENES: dict[str, Callable[[Path], dict[str, Any]]] = {
    scene.__name__: scene
    for scene in (
        *(one_behind, written_anew, first_cut, lost, damaged, another_number),
        *(full_disk, signalled, struck_at_the_end, in_use, parts_of_weights, counted),
        on_accelerators,
    )
}


def work(rank: int, folder: str) -> None:
    """Act every scene on one of the ranks, and leave what came of it in a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=SIZE)
    place = Path(folder)
    found = {name: [ran(**run), repeatedly(place / name / "run", **run)] for name, run in RUNS.items()}
    for name, scene in SCENES.items():
        found[name] = scene(place / name / "run")
        dist.barrier()
    (place / f"{rank}.json").write_text(json.dumps(found), encoding="utf-8")
    dist.barrier()
    # gloo's threads may abort an interpreter that ends in the usual way (pytorch issue 190489).
    os._exit(0)


def acted(folder: str) -> list[dict[str, Any]]:
    """Act all scenes and return what each rank found."""
    mp.start_processes(work, (folder,), nprocs=SIZE, start_method=killed_runs.SERVER.get_start_method())
    return [json.loads(Path(f"{folder}/{rank}.json").read_text(encoding="utf-8")) for rank in range(SIZE)]
