"""Launched: whether a launcher has started several processes for one request, and their group."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from torch import distributed as dist

from expunge.api.folder import Opening
from expunge.api.job import Job, prepare
from expunge.api.request.config import AnyConfig, RunConfig
from expunge.api.unlearning import unlearn
from expunge.engine import take_over
from expunge.errors import ConfigError

TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What ``torchrun`` and ``accelerate launch`` tell each process that they start."""
PATIENCE = timedelta(days=7)
"""The others wait while the first process trains the original; the launcher ends all when one fails."""


@contextmanager
def launched(config: AnyConfig, resume: bool = False) -> Iterator[int | None]:
    """Join the processes that a launcher has started, and leave them after the body; give this one's rank.

    It is None where this process is the only one. What several do is not saved, and cannot be gone on with.

    Raises:
        ConfigError: If the request cannot be shared.
    """
    if not all(name in os.environ for name in TOLD) or int(os.environ["WORLD_SIZE"]) < 2:
        yield None
        return
    if resume:
        found = f"--resume on {os.environ['WORLD_SIZE']} processes, whose state is not saved"
        raise ConfigError("one process for a run that is gone on with", found, "run it anew with --overwrite")
    if not isinstance(config, RunConfig):
        found = f"task: {config.task} on {os.environ['WORLD_SIZE']} processes"
        raise ConfigError("a request to a classifier, whose updates processes can share", found, "use one process")
    on_cuda = config.device in ("auto", "cuda") and torch.cuda.is_available()
    if on_cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if on_cuda else "gloo", timeout=PATIENCE)
    try:
        yield dist.get_rank()
    finally:
        # What still holds the group at the interpreter's end may abort it, after all work is done.
        gc.collect()
        dist.destroy_process_group()


def gather(job: Job) -> None:
    """Wait until every process has read the request, and say how many share it."""
    if job.shared:
        dist.barrier()
        job.console.print(f"Ranks:   {dist.get_world_size()}", soft_wrap=True)


def assist(config: AnyConfig, data_dir: Path | None) -> None:
    """Do this process's share of every update: what comes before and after, and the folder, are the first one's."""
    # What the first process writes into the folder meanwhile is no reason to refuse it.
    job = prepare(cast(RunConfig, config), data_dir, Opening(overwrite=True), Console(quiet=True))
    job.shared = True
    gather(job)
    take_over(job.original)
    wish = {} if job.agreed is None else job.agreed.wish._asdict()
    told: dict[str, Any] = {**job.asked(), **wish, **job.config.conditions(), "shared": True}
    sides = job.split
    unlearn(job.original, forget=sides.forget, retain=sides.retain, holdout=sides.holdout, **told)
