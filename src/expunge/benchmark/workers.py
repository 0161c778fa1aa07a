"""Processes that make items, lent by joblib: those of this machine, or a cluster's where its backend is chosen.

    with joblib.parallel_config(backend="dask"):  # or "ray", with that package's own backend
        run_benchmark(recipe, folders, jobs=16)

All processes need the folders of the benchmark on a file system that they share.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from joblib import Parallel, delayed

from expunge.benchmark.cell_runner import CellRunner
from expunge.benchmark.cells import Item
from expunge.benchmark.recipe import BenchmarkRecipe
from expunge.benchmark.store import FAILURE, BenchmarkFolders

BUSY, MADE, FAILED = "busy", "made", "failed"
"""What came of an item: another process has it, it is there, or what went wrong is."""
POLL_SECONDS = 1.0
"""Seconds after which an item that another process has is asked for again."""


class Session(NamedTuple):
    """One call of ``run_benchmark``.

    Args:
        process: Number of the process.
        started: When, in nanoseconds.
    """

    process: int
    started: int


_runners: dict[Session, CellRunner] = {}
"""What this process makes items with, the latest session's alone: it holds data."""


def run_if_missing(runner: CellRunner, item: Item) -> str:
    """Make an item unless it is there, or another process is making it."""
    folders = runner.folders
    with folders.lock(item) as is_locked:
        if not is_locked:
            return BUSY
        facts = folders.load(item)
        if facts is None:
            facts = runner.run(item)
            folders.write(item, facts)
    return FAILED if FAILURE in facts else MADE


def get_runner(session: Session, recipe: BenchmarkRecipe, folders: BenchmarkFolders) -> CellRunner:
    """Return what this process makes the items of a session with."""
    if session not in _runners:
        _runners.clear()
        _runners[session] = CellRunner(recipe, folders)
    return _runners[session]


def run_item(item: Item, folders: BenchmarkFolders, threads: int, session: Session) -> tuple[Item, str]:
    """Make an item, after the networks that it needs, and return it with what came of it."""
    if os.getppid() == session.process and session not in _runners:
        threading.Thread(target=exit_with_parent, args=(session.process,), daemon=True).start()
    if os.getpid() != session.process:
        torch.set_num_threads(threads)
    runner = get_runner(session, item.recipe, folders)
    for network in item.needs:
        while run_if_missing(runner, network) == BUSY:
            time.sleep(POLL_SECONDS)
    return item, run_if_missing(runner, item)


def exit_with_parent(parent: int) -> None:
    """Wait for the end of the process that started this one, however that comes, and end too."""
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(1)


def run_items(
    items: Sequence[Item], folders: BenchmarkFolders, jobs: int, threads: int, session: Session
) -> Iterator[tuple[Item, str]]:
    """Yield each item with what came of it, as soon as that is known."""
    parallel = Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch=jobs, batch_size=1)
    yield from parallel(delayed(run_item)(item, folders, threads, session) for item in items)
