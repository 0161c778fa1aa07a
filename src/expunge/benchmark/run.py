"""Carry out a recipe: make what is missing, in an order that leaves whole seeds first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from rich.console import Console

from expunge.api.threads import threads as using_threads
from expunge.benchmark.items import Cell, Item
from expunge.benchmark.making import Maker
from expunge.benchmark.plan import expected, shown_items, tuning_items
from expunge.benchmark.recipe import Recipe
from expunge.benchmark.store import FAILURE, Folders
from expunge.benchmark.workers import BUSY, FAILED, made_here, workers
from expunge.errors import ConfigError

PAUSE = 1.0
"""Seconds after which an item that another process has is asked for again."""


@dataclass(frozen=True)
class State:
    """What is there of a recipe.

    Args:
        made: Items that are there.
        failed: Items that could not be made.
        missing: Items that are still to be made.
        undecided: Cells of the table whose setting is not chosen yet, because a trial is missing.
    """

    made: tuple[Item, ...]
    failed: tuple[Item, ...]
    missing: tuple[Item, ...]
    undecided: int


def state_of(recipe: Recipe, folders: Folders) -> State:
    """Return what is there of a recipe and what is missing; nothing is made or written."""
    shown = shown_items(recipe, folders.found)
    made: list[Item] = []
    failed: list[Item] = []
    missing: list[Item] = []
    for item in [*tuning_items(recipe), *shown]:
        facts = folders.found(item)
        (missing if facts is None else failed if FAILURE in facts else made).append(item)
    undecided = expected(recipe) - sum(isinstance(item, Cell) for item in shown)
    return State(tuple(made), tuple(failed), tuple(missing), undecided)


def run_recipe(
    recipe: Recipe,
    folders: Folders,
    *,
    jobs: int = 1,
    threads: int = 1,
    retry_failed: bool = False,
    force: bool = False,
    console: Console | None = None,
) -> State:
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
    phases = [lambda: tuning_items(recipe), lambda: shown_items(recipe, folders.found)]
    asked = {"jobs": jobs, "threads": threads}
    carried_out(recipe, folders, phases, **asked, retry_failed=retry_failed, force=force, console=console)
    return state_of(recipe, folders)


def carried_out(
    recipe: Recipe,
    folders: Folders,
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
    folders.make()
    with using_threads(threads):
        maker = Maker(recipe, folders)
        maker.check()
        work = Work(maker, jobs, threads, console)
        for items in phases:
            work.carry_out(items(), retry_failed, force)


class Work:
    """Makes lists of items in their order, each once the networks that it needs are there.

    Args:
        maker: Makes them.
        jobs: Processes.
        threads: Of each.
        console: Where a line for every item goes.
    """

    def __init__(self, maker: Maker, jobs: int, threads: int, console: Console) -> None:
        self.maker, self.jobs, self.threads, self.console = maker, jobs, threads, console
        self.waiting: list[Item] = []
        self.running: dict[Future[str], Item] = {}
        self.total = self.done = 0
        self.began = time.perf_counter()
        self.forgotten: set[str] = set()

    def carry_out(self, items: Sequence[Item], again: bool, force: bool = False) -> None:
        """Make what is missing.

        Args:
            items: What is to be there in the end.
            again: Whether what failed before is missing.
            force: Whether what was there before is missing. Default false.

        Raises:
            ConfigError: If a process was killed; the next run goes on.
        """
        folders = self.maker.folders
        for item in items if force else ():
            if item.key not in self.forgotten:
                folders.forget(item)
                self.forgotten.add(item.key)
        for item in items if again else ():
            if FAILURE in (folders.found(item) or {}):
                folders.forget(item)
        self.waiting = [item for item in items if folders.found(item) is None]
        self.total, self.done = len(items), len(items) - len(self.waiting)
        if not self.waiting:
            return
        try:
            with workers(self.maker, self.jobs, self.threads) as pool:
                while self.waiting or self.running:
                    self.hand_out(pool)
        except BrokenProcessPool as error:
            cure = "run it again; with fewer --jobs if memory was short"
            raise ConfigError("processes that live", "one that was killed", cure) from error

    def hand_out(self, pool: Executor) -> None:
        """Give every idle process an item, and wait until one is done."""
        for item in self.ready()[: self.jobs - len(self.running)]:
            self.waiting.remove(item)
            self.running[pool.submit(made_here, item)] = item
        over, _ = wait(self.running, return_when=FIRST_COMPLETED)
        if not [future for future in over if self.close(future)]:
            time.sleep(PAUSE)

    def ready(self) -> list[Item]:
        """Return the items whose networks are all there, or are known to have failed."""
        found = self.maker.folders.found
        return [item for item in self.waiting if all(found(network) is not None for network in item.needs)]

    def close(self, future: Future[str]) -> bool:
        """Take note of what came of an item; return whether it is done."""
        item, came = self.running.pop(future), future.result()
        if came == BUSY:
            self.waiting.append(item)
            return False
        self.done += 1
        facts = self.maker.folders.found(item) or {}
        said = f"failed: {facts[FAILURE]['sentence']}" if came == FAILED else f"{facts.get('wall_seconds', 0):.1f} s"
        passed = f"[{time.perf_counter() - self.began:6.0f} s] {self.done}/{self.total}"
        self.console.print(f"{passed} {item.words}: {said}", soft_wrap=True, markup=False)
        return True
