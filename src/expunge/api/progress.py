"""Progress bars, one look for all verbs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import torch.distributed
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from expunge.callbacks import Callback, LambdaCallback
from expunge.run_config import RunConfig
from expunge.screen import SafeConsole
from expunge.surgery import Progress as Updates


@dataclass(frozen=True)
class ProgressBar:
    """One bar on the screen.

    Args:
        display: The display that it belongs to.
        task: Its number there.
        width: Columns of its description.
    """

    display: Progress
    task: TaskID
    width: int

    def advance(self, what: str) -> None:
        """Show that one more piece of work is done, and which."""
        self.display.update(self.task, advance=1, description=f"{what:<{self.width}}")

    def set_epoch(self, epoch: int, epochs: int, loss: float, accuracy: float) -> None:
        """Show that an epoch of training is over."""
        self.display.update(self.task, completed=epoch, total=epochs)

    def set_progress(self, done: int, total: int, *_: float) -> None:
        """Show how many pieces of work are done, of how many."""
        self.display.update(self.task, completed=done, total=total)

    def finish(self) -> None:
        """Show that what has been done is all there is: a run whose request is met ends before its last update."""
        task = next(task for task in self.display.tasks if task.id == self.task)
        if task.completed:
            self.display.update(self.task, total=task.completed)

    def update(self, progress: Updates) -> None:
        """Show that an update of unlearning is over."""
        self.display.update(self.task, completed=progress.step + 1, total=progress.total)


class ThroughputColumn(ProgressColumn):
    """Images per second.

    Args:
        images: Images in one piece of work.
    """

    def __init__(self, images: int) -> None:
        super().__init__()
        self.images = images

    def render(self, task: Task) -> Text:
        """Return the speed, or nothing before there is one."""
        average_speed = task.completed / task.elapsed if task.elapsed else 0
        speed = (task.finished_speed or task.speed or average_speed) * self.images
        return Text(f"{speed:,.0f} images/s" if speed else "")


@contextmanager
def progress_bar(
    console: Console, what: str, total: int = 1, *, width: int = 10, transient: bool = False, images: int = 0
) -> Iterator[ProgressBar]:
    """Show a progress bar while the body runs."""
    columns = TextColumn("{task.description}", markup=False), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn()
    speed = (ThroughputColumn(images),) if images else ()
    with Progress(*columns, *speed, console=console, transient=transient) as display:
        progress = ProgressBar(display, display.add_task(f"{what:<{width}}", total=total), width)
        yield progress
        progress.finish()


@contextmanager
def show_updates(config: RunConfig) -> Iterator[list[Callback]]:
    """Show a bar of the updates in a terminal or a notebook; of several processes, only the first shows one."""
    console = SafeConsole()
    is_watched = console.is_interactive or (console.is_jupyter and find_spec("ipywidgets") is not None)
    is_first = not config.distributed or torch.distributed.get_rank() == 0
    if not (config.progress and is_watched and is_first):
        yield []
        return
    with progress_bar(console, "Unlearning", transient=True) as bar:
        yield [LambdaCallback(on_step=bar.update)]
