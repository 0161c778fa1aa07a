"""Carry out a recipe: make what is missing, in an order that leaves whole seeds first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from rich.console import Console

from expunge.api.compute_context import thread_count as using_threads
from expunge.benchmark.cell_runner import CellRunner
from expunge.benchmark.cells import BenchmarkCell, Item
from expunge.benchmark.plan import count_cells, list_table_items, list_tuning_items
from expunge.benchmark.recipe import BenchmarkRecipe
from expunge.benchmark.store import FAILURE, BenchmarkFolders
from expunge.benchmark.workers import BUSY, FAILED, run_in_worker, worker_pool
from expunge.errors import ConfigError

POLL_SECONDS = 1.0
"""Seconds after which an item that another process has is asked for again."""


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
        jobs: Processes. Default 1.
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
    """Make what is missing of each list of items, which is asked for once those before it are made.

    Raises:
        ExpungeError: If recipe or data do not fit, before anything is made; or a process was killed.
    """
    if min(jobs, threads) < 1:
        raise ConfigError("at least one job and one thread", f"{min(jobs, threads)}", "use 1")
    console = console or Console(quiet=True)
    folders.create()
    with using_threads(threads):
        runner = CellRunner(recipe, folders)
        runner.check()
        scheduler = Scheduler(runner, jobs, threads, console)
        for items in phases:
            scheduler.run(items(), retry_failed, force)


class Scheduler:
    """Makes lists of items in their order, each once the networks that it needs are there.

    Args:
        runner: Makes them.
        jobs: Processes.
        threads: Of each.
        console: Where a line for every item goes.
    """

    def __init__(self, runner: CellRunner, jobs: int, threads: int, console: Console) -> None:
        self.runner, self.jobs, self.threads, self.console = runner, jobs, threads, console
        self.waiting: list[Item] = []
        self.running: dict[Future[str], Item] = {}
        self.total = self.done = 0
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
        folders = self.runner.folders
        for item in items if force else ():
            if item.key not in self.cleared:
                folders.delete(item)
                self.cleared.add(item.key)
        for item in items if retry_failed else ():
            if FAILURE in (folders.load(item) or {}):
                folders.delete(item)
        self.waiting = [item for item in items if folders.load(item) is None]
        self.total, self.done = len(items), len(items) - len(self.waiting)
        if not self.waiting:
            return
        try:
            with worker_pool(self.runner, self.jobs, self.threads) as pool:
                while self.waiting or self.running:
                    self.submit_ready(pool)
        except BrokenProcessPool as error:
            hint = "run it again; with fewer --jobs if memory was short"
            raise ConfigError("processes that live", "one that was killed", hint) from error

    def submit_ready(self, pool: Executor) -> None:
        """Give every idle process an item, and wait until one is done."""
        for item in self.list_ready()[: self.jobs - len(self.running)]:
            self.waiting.remove(item)
            self.running[pool.submit(run_in_worker, item)] = item
        finished, _ = wait(self.running, return_when=FIRST_COMPLETED)
        if not [future for future in finished if self.finish_item(future)]:
            time.sleep(POLL_SECONDS)

    def list_ready(self) -> list[Item]:
        """Return the items whose networks are all there, or are known to have failed."""
        load_facts = self.runner.folders.load
        return [item for item in self.waiting if all(load_facts(network) is not None for network in item.needs)]

    def finish_item(self, future: Future[str]) -> bool:
        """Take note of what came of an item; return whether it is done."""
        item, outcome = self.running.pop(future), future.result()
        if outcome == BUSY:
            self.waiting.append(item)
            return False
        self.done += 1
        facts = self.runner.folders.load(item) or {}
        message = (
            f"failed: {facts[FAILURE]['sentence']}" if outcome == FAILED else f"{facts.get('wall_seconds', 0):.1f} s"
        )
        progress = f"[{time.perf_counter() - self.start_time:6.0f} s] {self.done}/{self.total}"
        self.console.print(f"{progress} {item.description}: {message}", soft_wrap=True, markup=False)
        return True
