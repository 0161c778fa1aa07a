"""Processes that make items: the parent hands them out, one at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any

import torch

from expunge.benchmark.cell_runner import CellRunner
from expunge.benchmark.cells import Item
from expunge.benchmark.recipe import BenchmarkRecipe
from expunge.benchmark.store import FAILURE, BenchmarkFolders

BUSY, MADE, FAILED = "busy", "made", "failed"
"""What came of an item: another process has it, it is there, or what went wrong is."""

Make = Callable[[Item], str]


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


class InlineExecutor(Executor):
    """Makes items in this process, at once.

    Args:
        runner: What makes them.
    """

    def __init__(self, runner: CellRunner) -> None:
        self.runner = runner

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return what the function gives for the maker and the item."""
        future: Future[Any] = Future()
        future.set_result(run_if_missing(self.runner, *args))
        return future


_runners: list[CellRunner] = []


def init_worker(recipe: BenchmarkRecipe, folders: BenchmarkFolders, threads: int) -> None:
    """Prepare a worker, which ends when its parent does, however that ends."""
    torch.set_num_threads(threads)
    threading.Thread(target=exit_with_parent, daemon=True).start()
    _runners.append(CellRunner(recipe, folders))


def exit_with_parent() -> None:
    """Wait for the parent's end, and end too."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def run_in_worker(item: Item) -> str:
    """Make an item in a worker."""
    return run_if_missing(_runners[0], item)


@contextmanager
def worker_pool(runner: CellRunner, jobs: int, threads: int) -> Iterator[Executor]:
    """Lend what carries out ``made_here``: this process for one job, else so many new ones.

    Args:
        runner: Of this process.
        jobs: Processes.
        threads: Of each.
    """
    if jobs == 1:
        yield InlineExecutor(runner)
        return
    init_arguments = runner.recipe, runner.folders, threads
    with ProcessPoolExecutor(jobs, get_context("spawn"), init_worker, init_arguments) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
