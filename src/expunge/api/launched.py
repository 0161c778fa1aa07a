"""Launched: whether a launcher has started several processes for one request, and their group."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from torch import distributed as dist

from expunge.api.folder import Opening
from expunge.api.job import Job, prepare
from expunge.api.request.config import AnyConfig, RunConfig
from expunge.api.sitting import savepoints_of
from expunge.api.unlearning import unlearn
from expunge.engine import Council, take_over
from expunge.engine.processes import PATIENCE
from expunge.errors import ConfigError

TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What ``torchrun`` and ``accelerate launch`` tell each process that they start."""

LOST = 1.0
"""Seconds after which a process that has lost another one says so."""


def processes() -> int:
    """Return how many processes a launcher has started; 1 without one."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in TOLD) else 1


def helping() -> bool:
    """Return whether this process is one that a launcher has started beside the first."""
    return processes() > 1 and os.environ["RANK"] != "0"


def may_speak() -> bool:
    """Return whether no other process of the launcher has said yet what ended them; who asks first may say it.

    ``torchrun`` keeps a store for its processes, which answers this; under another launcher each of them speaks.
    """
    if processes() < 2 or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return True
    try:
        place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = dist.TCPStore(*place, is_master=False, timeout=timedelta(seconds=5))  # type: ignore[attr-defined]
        return store.add(f"expunge said {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", 1) == 1
    except (RuntimeError, ValueError):
        return True


@contextmanager
def launched(config: AnyConfig) -> Iterator[Council | None]:
    """Join the processes that a launcher has started, and leave them after the body.

    What is lent is None where this process is the only one.

    Raises:
        ConfigError: If the request cannot be shared.
    """
    if processes() < 2:
        yield None
        return
    if not isinstance(config, RunConfig):
        found = f"task: {config.task} on {os.environ['WORLD_SIZE']} processes"
        raise ConfigError("a request to a classifier, whose updates processes can share", found, "use one process")
    on_cuda = config.device in ("auto", "cuda") and torch.cuda.is_available()
    if on_cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if on_cuda else "gloo", timeout=PATIENCE)
    try:
        yield Council()
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


def jointly(council: Council | None) -> AbstractContextManager[None]:
    """Return the context of what every process has to succeed in: where one refuses, all do, with one sentence."""
    return nullcontext() if council is None else council.jointly()


def gather(job: Job, council: Council, done: bool) -> None:
    """Tell the others whether the request is answered already, and the reader how many share it."""
    job.council = council
    council.everyone(done)
    job.console.print(f"Ranks:   {council.size}", soft_wrap=True)


def assist(config: AnyConfig, data_dir: Path | None, council: Council) -> None:
    """Do this process's share of every update: what comes before and after, and the folder, are the first one's."""
    with council.jointly():
        # What the first process writes into the folder meanwhile is no reason to refuse it.
        job = prepare(cast(RunConfig, config), data_dir, Opening(overwrite=True), Console(quiet=True))
    job.council = council
    done, *_ = council.everyone(False)
    if done:
        return
    with council.jointly():
        pass  # the first one opens the folder
    take_over(job.original)
    wish = {} if job.agreed is None else job.agreed.wish._asdict()
    told: dict[str, Any] = {**job.asked(), **wish, **job.config.conditions(), "shared": True}
    sides = job.split
    saved = savepoints_of(job.config)
    unlearn(job.original, forget=sides.forget, retain=sides.retain, holdout=sides.holdout, resume=saved, **told)
    council.everyone(None)
