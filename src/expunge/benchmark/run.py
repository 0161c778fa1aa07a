"""Carry out a recipe: make what is missing, in an order that leaves whole seeds first."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from rich.console import Console

from expunge.api.compute_context import thread_count as using_threads
from expunge.benchmark.cells import BenchmarkCell, Item
from expunge.benchmark.plan import count_cells, list_table_items, list_tuning_items
from expunge.benchmark.recipe import BenchmarkRecipe
from expunge.benchmark.store import FAILURE, BenchmarkFolders
from expunge.benchmark.workers import BUSY, FAILED, POLL_SECONDS, Session, get_runner, run_items
from expunge.errors import ConfigError


@dataclass(frozen=True)
class BenchmarkState:
    """What is there of a recipe.

    Args:
        finished: Items that are there.
        failed: Items that could not be made.
        missing: Items that are still to be made.
        undecided: Cells of the table whose setting is not chosen yet, because a trial is missing.
    """

    finished: tuple[Item, ...]
    failed: tuple[Item, ...]
    missing: tuple[Item, ...]
    undecided: int


def get_benchmark_state(recipe: BenchmarkRecipe, folders: BenchmarkFolders) -> BenchmarkState:
    """Return what is there of a recipe and what is missing; nothing is made or written."""
    shown = list_table_items(recipe, folders.load)
    finished: list[Item] = []
    failed: list[Item] = []
    missing: list[Item] = []
    for item in [*list_tuning_items(recipe), *shown]:
        facts = folders.load(item)
        (missing if facts is None else failed if FAILURE in facts else finished).append(item)
    undecided = count_cells(recipe) - sum(isinstance(item, BenchmarkCell) for item in shown)
    return BenchmarkState(tuple(finished), tuple(failed), tuple(missing), undecided)


def run_benchmark(
    recipe: BenchmarkRecipe,
    folders: BenchmarkFolders,
    *,
    jobs: int = 1,
    threads: int = 1,
    retry_failed: bool = False,
    force: bool = False,
    console: Console | None = None,
) -> BenchmarkState:
    """Make what is missing of a recipe, and return what is there then.

    A run that is stopped in any way goes on where it was; several may work on the same folders.

    Args:
        recipe: The comparison, from ``load_recipe``.
        folders: Where data, networks and cells are.
        jobs: Processes, of this machine or of the joblib backend that is chosen. Default 1.
        threads: Processor threads of each. Default 1.
        retry_failed: Make again what could not be made before. Default false.
        force: Make again what is there, such as after a change of what your own code imports. Default false.
        console: Where a line for every item goes. Default: nowhere.

    Raises:
        ExpungeError: If recipe or data do not fit, before anything is made; or a process was killed.
    """
    phases = [lambda: list_tuning_items(recipe), lambda: list_table_items(recipe, folders.load)]
    parallelism = {"jobs": jobs, "threads": threads}
    run_phases(recipe, folders, phases, **parallelism, retry_failed=retry_failed, force=force, console=console)
    return get_benchmark_state(recipe, folders)


def run_phases(
    recipe: BenchmarkRecipe,
    folders: BenchmarkFolders,
    phases: Sequence[Callable[[], Sequence[Item]]],
    *,
    jobs: int,
    threads: int,
    retry_failed: bool,
    console: Console | None,
    force: bool = False,
) -> None:
    """Make what is missing of each list of items, which is asked for once those before it are made."""
    if min(jobs, threads) < 1:
        raise ConfigError("at least one job and one thread", f"{min(jobs, threads)}", "use 1")
    console = console or Console(quiet=True)
    folders.create()
    with using_threads(threads):
        session = Session(os.getpid(), time.time_ns())
        runner = get_runner(session, recipe, folders)
        runner.check()
        scheduler = Scheduler(folders, session, jobs, threads, console)
        for items in phases:
            scheduler.run(items(), retry_failed, force)


class Scheduler:
    """Makes lists of items in their order, each after the networks that it needs.

    Args:
        folders: Where things are kept.
        session: This one.
        jobs: Processes.
        threads: Of each.
        console: Where a line for every item goes.
    """

    def __init__(self, folders: BenchmarkFolders, session: Session, jobs: int, threads: int, console: Console) -> None:
        self.folders, self.session, self.console = folders, session, console
        self.jobs, self.threads = jobs, threads
        self.start_time = time.perf_counter()
        self.cleared: set[str] = set()

    def run(self, items: Sequence[Item], retry_failed: bool, force: bool = False) -> None:
        """Make what is missing.

        Args:
            items: What is to be there in the end.
            retry_failed: Whether what failed before is missing.
            force: Whether what was there before is missing. Default false.

        Raises:
            ConfigError: If a process was killed; the next run goes on.
        """
        folders = self.folders
        for item in items:
            if force and item.key not in self.cleared:
                folders.delete(item)
                self.cleared.add(item.key)
            elif retry_failed and FAILURE in (folders.load(item) or {}):
                folders.delete(item)
        waiting = [item for item in items if folders.load(item) is None]
        done = len(items) - len(waiting)
        try:
            while waiting:
                busy = []
                for item, outcome in run_items(waiting, folders, self.jobs, self.threads, self.session):
                    if outcome == BUSY:
                        busy.append(item)
                    else:
                        done += 1
                        self.report(item, outcome, f"{done}/{len(items)}")
                if len(busy) == len(waiting):
                    time.sleep(POLL_SECONDS)
                waiting = busy
        except BrokenProcessPool as error:
            hint = "run it again; with fewer --jobs if memory was short"
            raise ConfigError("processes that live", "one that was killed", hint) from error

    def report(self, item: Item, outcome: str, count: str) -> None:
        """Print a line about an item that is done."""
        facts = self.folders.load(item) or {}
        message = (
            f"failed: {facts[FAILURE]['sentence']}" if outcome == FAILED else f"{facts.get('wall_seconds', 0):.1f} s"
        )
        progress = f"[{time.perf_counter() - self.start_time:6.0f} s] {count}"
        self.console.print(f"{progress} {item.description}: {message}", soft_wrap=True, markup=False)
