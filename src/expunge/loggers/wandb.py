"""Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from expunge.loggers.logger import Logger, PlainValue
from expunge.optional import import_optional

QUIET_SETTINGS = {"console": "off", "save_code": False, "disable_git": True, "x_disable_meta": True}
"""By default the library uploads what is printed, the command line and the state of the repository: names and paths."""


class WandB(Logger):
    """Send the course to Weights & Biases; what it would collect by itself is turned off.

    Args:
        project: Name of the project. Default ``expunge``.
        run: Name of the run. Default: the service's choice.
        folder: Where the library keeps its files. Default: its own choice.

    Raises:
        MissingExtraError: If wandb is not installed.
    """

    name: ClassVar[str] = "wandb"
    aliases: ClassVar[tuple[str, ...]] = ("weights_and_biases",)

    def __init__(self, project: str = "expunge", run: str | None = None, folder: str | Path | None = None) -> None:
        self.project, self.run_name, self.folder = project, run, None if folder is None else Path(folder)
        self.package = import_optional("wandb", "the logger of that name", "wandb")
        self.run: Any = None

    def start(self, settings: Mapping[str, PlainValue]) -> None:
        """Begin a run."""
        folder_setting = {} if self.folder is None else {"dir": str(self.folder)}
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        self.run = self.package.init(
            project=self.project,
            name=self.run_name,
            config=dict(settings),
            settings=dict(QUIET_SETTINGS),
            **folder_setting,
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Send a point of each curve."""
        self.run.log(dict(values), step=step)

    def finish(self, figures: Mapping[str, float], *, failed: bool) -> None:
        """Send the figures as the run's summary, and end it."""
        self.run.summary.update(dict(figures))
        self.run.finish(exit_code=int(failed))
