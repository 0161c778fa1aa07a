"""Runs in processes of their own, one or several that share it, that are killed at random moments and gone on with."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from expunge.api import run_request
from expunge.registry import list_entries
from expunge.request.config import load_request

RESULTS = ("unlearned.safetensors", "history.jsonl")
WARM: list[BaseProcess] = []
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload([__name__, "sklearn.datasets", "sklearn.linear_model", "sklearn.svm", "torch._dynamo"])

for kind in ("tasks", "methods", "models", "readers"):
    list_entries(kind)  # imports them, in the server too


class Killed(NamedTuple):
    """What killing one run again and again came to.

    Args:
        kills: How often it was killed.
        saving: In how many of these a checkpoint was half written.
        digests: Of what it left in the end.
        seconds: Of the last process.
    """

    kills: int
    saving: int
    digests: dict[str, str]
    seconds: float


def answer(request: str, out: str, environment: Mapping[str, str]) -> None:
    """Answer a request, or go on with the answer: the body of a process."""
    os.environ.update(environment)
    config = load_request(request).model_copy(update={"out": Path(out)})
    run_request(config, resume=True)


def started(request: Path, out: Path, ranks: int = 1) -> list[BaseProcess]:
    """Start processes that answer a request together; they come from a server that has imported everything."""
    environment = {name: value for name, value in os.environ.items() if name.startswith(("EXPUNGE", "OMP"))}
    processes = []
    for told in launches(ranks):
        process = SERVER.Process(target=answer, args=(str(request), str(out), {**environment, **told}))
        process.start()
        processes.append(process)
    return processes


def launches(ranks: int) -> list[dict[str, str]]:
    """Return what a launcher tells each of so many processes; nothing where there is one."""
    if ranks == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    own = ({"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)} for rank in range(ranks))
    return [address | told for told in own]


def ended(processes: Sequence[BaseProcess], seconds: float | None = None) -> bool:
    """Wait so long at most, and return whether all processes have ended."""
    until = None if seconds is None else time.monotonic() + seconds
    for process in processes:
        process.join(None if until is None else max(0.0, until - time.monotonic()))
    return all(process.exitcode is not None for process in processes)


def digests(out: Path) -> dict[str, str]:
    """Return the hashes of a run's weights and history."""
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in RESULTS}


def straight(request: Path, out: Path, ranks: int = 1) -> tuple[dict[str, str], float]:
    """Answer a request without a kill; return the hashes and the seconds it took, those of the server left out."""
    if not WARM:
        WARM.extend(started(request, out.with_name("warm")))
        ended(WARM)
    began = time.monotonic()
    processes = started(request, out, ranks)
    ended(processes)
    assert all(process.exitcode == 0 for process in processes)
    return digests(out), time.monotonic() - began


def killed(request: Path, out: Path, longest: float, luck: random.Random, most: int, ranks: int = 1) -> Killed:
    """Kill a run after random times and go on with it, ``most`` times at most, until it is done."""
    kills, halves = 0, set[str]()
    while True:
        began, processes = time.monotonic(), started(request, out, ranks)
        if not ended(processes, luck.uniform(0, longest) if kills < most else None):
            for process in processes:
                process.kill()
            ended(processes)
        if all(process.exitcode != -signal.SIGKILL for process in processes):
            assert all(process.exitcode == 0 for process in processes), "a run that is gone on with fails"
            return Killed(kills, len(halves), digests(out), time.monotonic() - began)
        kills += 1
        halves.update(path.name for path in (out / "checkpoints").rglob(".state-*.tmp"))
