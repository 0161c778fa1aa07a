"""TensorBoard: event files in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from expunge.loggers.logger import Logger, PlainValue
from expunge.optional import import_optional


class TensorBoard(Logger):
    """Write event files that ``tensorboard --logdir`` shows.

    Args:
        folder: Where. Default ``runs/tensorboard``; ``expunge run`` takes ``tensorboard`` in the run folder.

    Raises:
        MissingExtraError: If tensorboard is not installed.
    """

    name: ClassVar[str] = "tensorboard"

    def __init__(self, folder: str | Path = "runs/tensorboard") -> None:
        self.folder = Path(folder)
        import_optional("tensorboard", "the logger of that name", "tensorboard")
        self.package = import_optional("torch.utils.tensorboard", "the logger of that name", "tensorboard")
        self.writer: Any = None

    def start(self, settings: Mapping[str, PlainValue]) -> None:
        """Open a file, with the settings as a text."""
        self.writer = self.package.SummaryWriter(str(self.folder))
        lines = [f"| {name} | {value} |" for name, value in settings.items()]
        self.writer.add_text("settings", "\n".join(["| setting | value |", "|---|---|", *lines]))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write a point of each curve."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def finish(self, figures: Mapping[str, float], *, failed: bool) -> None:
        """Write the figures, and whether the run failed, and close the file."""
        for name, value in {**figures, "failed": float(failed)}.items():
            self.writer.add_scalar(f"final/{name}", value)
        self.writer.close()
