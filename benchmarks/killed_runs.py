"""Runs in processes of their own that are killed at random moments and gone on with."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from expunge.api import run_request
from expunge.api.request.config import load_request
from expunge.registry import entries

RESULTS = ("unlearned.safetensors", "history.jsonl")
WARM: list[BaseProcess] = []
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload([__name__, "sklearn.datasets", "sklearn.linear_model", "sklearn.svm", "torch._dynamo"])

for kind in ("tasks", "methods", "models", "readers"):
    entries(kind)  # imports them, in the server too


class Killed(NamedTuple):
    """What killing one run again and again came to.

    Args:
        kills: How often it was killed.
        saving: In how many of these a savepoint was half written.
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


def started(request: Path, out: Path) -> BaseProcess:
    """Start a process that answers a request; it comes from a server that has imported everything."""
    environment = {name: value for name, value in os.environ.items() if name.startswith(("EXPUNGE", "OMP"))}
    process = SERVER.Process(target=answer, args=(str(request), str(out), environment))
    process.start()
    return process


def digests(out: Path) -> dict[str, str]:
    """Return the hashes of a run's weights and history."""
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in RESULTS}


def straight(request: Path, out: Path) -> tuple[dict[str, str], float]:
    """Answer a request without a kill; return the hashes and the seconds it took, those of the server left out."""
    if not WARM:
        WARM.append(started(request, out.with_name("warm")))
        WARM[0].join()
    began = time.monotonic()
    process = started(request, out)
    process.join()
    assert process.exitcode == 0
    return digests(out), time.monotonic() - began


def killed(request: Path, out: Path, longest: float, luck: random.Random, most: int) -> Killed:
    """Kill a run after random times and go on with it, ``most`` times at most, until it is done."""
    kills, halves = 0, set[str]()
    while True:
        began, process = time.monotonic(), started(request, out)
        process.join(luck.uniform(0, longest) if kills < most else None)
        if process.exitcode is None:
            process.kill()
            process.join()
        if process.exitcode != -signal.SIGKILL:
            assert process.exitcode == 0, "a run that is gone on with fails"
            return Killed(kills, len(halves), digests(out), time.monotonic() - began)
        kills += 1
        halves.update(path.name for path in (out / "savepoints").glob(".state-*.tmp"))
