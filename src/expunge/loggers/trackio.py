"""trackio: a local dashboard by Hugging Face."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from expunge.loggers.logger import Logger, PlainValue
from expunge.optional import import_optional


class Trackio(Logger):
    """Keep the course where ``trackio show`` finds it, on this machine.

    Args:
        project: Name of the project. Default ``expunge``.
        run: Name of the run. Default: the library's choice.

    Raises:
        MissingExtraError: If trackio is not installed.
    """

    name: ClassVar[str] = "trackio"

    def __init__(self, project: str = "expunge", run: str | None = None) -> None:
        self.project, self.run_name = project, run
        self.package = import_optional("trackio", "the logger of that name", "trackio")
        self.run: Any = None
        self.last_step = 0

    def start(self, settings: Mapping[str, PlainValue]) -> None:
        """Begin a run."""
        self.run = self.package.init(project=self.project, name=self.run_name, config=dict(settings), embed=False)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point of each curve."""
        self.last_step = step
        self.package.log(dict(values), step=step)

    def finish(self, figures: Mapping[str, float], *, failed: bool) -> None:
        """Add the figures after the last update, and end the run."""
        final_values = {f"final/{name}": value for name, value in figures.items()} | {"final/failed": float(failed)}
        self.package.log(final_values, step=self.last_step + 1)
        self.package.finish()
