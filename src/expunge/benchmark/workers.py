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

from expunge.benchmark.items import Item
from expunge.benchmark.making import Maker
from expunge.benchmark.recipe import Recipe
from expunge.benchmark.store import FAILURE, Folders

BUSY, MADE, FAILED = "busy", "made", "failed"
"""What came of an item: another process has it, it is there, or what went wrong is."""

Make = Callable[[Item], str]


def made(maker: Maker, item: Item) -> str:
    """Make an item unless it is there, or another process is making it."""
    folders = maker.folders
    with folders.held(item) as mine:
        if not mine:
            return BUSY
        facts = folders.found(item)
        if facts is None:
            facts = maker.make(item)
            folders.write(item, facts)
    return FAILED if FAILURE in facts else MADE


class Here(Executor):
    """Makes items in this process, at once.

    Args:
        maker: What makes them.
    """

    def __init__(self, maker: Maker) -> None:
        self.maker = maker

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return what the function gives for the maker and the item."""
        future: Future[Any] = Future()
        future.set_result(made(self.maker, *args))
        return future


_makers: list[Maker] = []


def begin(recipe: Recipe, folders: Folders, threads: int) -> None:
    """Prepare a worker, which ends when its parent does, however that ends."""
    torch.set_num_threads(threads)
    threading.Thread(target=end_with_parent, daemon=True).start()
    _makers.append(Maker(recipe, folders))


def end_with_parent() -> None:
    """Wait for the parent's end, and end too."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def made_here(item: Item) -> str:
    """Make an item in a worker."""
    return made(_makers[0], item)


@contextmanager
def workers(maker: Maker, jobs: int, threads: int) -> Iterator[Executor]:
    """Lend what carries out ``made_here``: this process for one job, else so many new ones.

    Args:
        maker: Of this process.
        jobs: Processes.
        threads: Of each.
    """
    if jobs == 1:
        yield Here(maker)
        return
    given = maker.recipe, maker.folders, threads
    with ProcessPoolExecutor(jobs, get_context("spawn"), begin, given) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
