"""Launched: whether a launcher has started several processes for one request, and their group."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import distributed as dist

from expunge.api.checkpointing import create_checkpoint_manager
from expunge.api.execute import unlearn_split
from expunge.api.folder import FolderMode
from expunge.api.job import Job, prepare_job
from expunge.api.result import get_task
from expunge.engine import ControlGroup, broadcast_weights
from expunge.engine.control_group import PROCESS_GROUP_TIMEOUT
from expunge.errors import ConfigError
from expunge.request.request_file import RequestFile

LAUNCHER_ENV = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What ``torchrun`` and ``accelerate launch`` tell each process that they start."""

LOST = 1.0
"""Seconds after which a process that has lost another one says so."""


def count_processes() -> int:
    """Return how many processes a launcher has started; 1 without one."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in LAUNCHER_ENV) else 1


def is_worker() -> bool:
    """Return whether this process is one that a launcher has started beside the first."""
    return count_processes() > 1 and os.environ["RANK"] != "0"


def may_speak() -> bool:
    """Return whether no other process of the launcher has said yet what ended them; who asks first may say it.

    ``torchrun`` keeps a store for its processes, which answers this; under another launcher each of them speaks.
    """
    if count_processes() < 2 or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return True
    try:
        place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = dist.TCPStore(*place, is_master=False, timeout=timedelta(seconds=5))  # type: ignore[attr-defined]
        return store.add(f"expunge said {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", 1) == 1
    except (RuntimeError, ValueError):
        return True


@contextmanager
def distributed_context(config: RequestFile) -> Iterator[ControlGroup | None]:
    """Join the processes that a launcher has started, and leave them after the body.

    What is lent is None where this process is the only one.
    """
    if count_processes() < 2:
        yield None
        return
    if not get_task(config.task).is_distributable:
        actual = f"task: {config.task} on {os.environ['WORLD_SIZE']} processes"
        raise ConfigError("a request to a classifier, whose updates processes can share", actual, "use one process")
    on_cuda = config.device in ("auto", "cuda") and torch.cuda.is_available()
    if on_cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if on_cuda else "gloo", timeout=PROCESS_GROUP_TIMEOUT)
    try:
        yield ControlGroup()
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        time.sleep(LOST)  # who has ended speaks first
        cure = "its own message says why; start all of them again"
        raise ConfigError("an answer of every process", "that one has ended", cure) from error
    finally:
        # What still holds the group at the interpreter's end may abort it, after all work is done.
        gc.collect()
        dist.destroy_process_group()


def all_ranks_or_none(council: ControlGroup | None) -> AbstractContextManager[None]:
    """Return the context of what every process has to succeed in: where one refuses, all do, with one sentence."""
    return nullcontext() if council is None else council.sync_errors()


def broadcast_done(job: Job[Any], council: ControlGroup, done: bool) -> None:
    """Tell the others whether the request is answered already, and the reader how many share it."""
    job.council = council
    council.all_gather(done)
    job.console.print(f"Ranks:   {council.size}", soft_wrap=True)


def run_worker(config: RequestFile, data_dir: Path | None, council: ControlGroup) -> None:
    """Do this process's share of every update: what comes before and after, and the folder, are the first one's."""
    with council.sync_errors():
        # What the first process writes into the folder meanwhile is no reason to refuse it.
        job = prepare_job(config, data_dir, FolderMode(overwrite=True), Console(quiet=True))
    job.council = council
    done, *_ = council.all_gather(False)
    if done:
        return
    with council.sync_errors():
        pass  # the first one opens the folder
    broadcast_weights(job.original)
    checkpoints = create_checkpoint_manager(config)
    shared: dict[str, Any] = {"distributed": True, "checkpoints": checkpoints}
    unlearn_split(job.model, job.build_split(), config, job.chosen_method, job.budget, **shared)
    council.all_gather(None)
