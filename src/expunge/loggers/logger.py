"""The protocol of loggers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from expunge.type_checks import enforce_constructor_types

PlainValue = str | float | int | bool


class Logger(ABC):
    """Shows the course of one run elsewhere: begun once, told of updates as they are read, ended once.

    What it is told: names and settings of method and conditions, losses and controls of updates, readings of the
    budget, and the figures in the end. Never inputs, labels, indices, names of classes, or paths. Whatever it raises
    is reported once, and the run goes on without it.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Let the constructor of every subclass refuse arguments of the wrong kind."""
        super().__init_subclass__(**options)
        enforce_constructor_types(cls)

    @abstractmethod
    def start(self, settings: Mapping[str, PlainValue]) -> None:
        """Begin a run.

        Args:
            settings: By name.
        """

    @abstractmethod
    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take the finite values of one update.

        Args:
            step: Number of the update, from 0, never falling.
            values: By name.
        """

    @abstractmethod
    def finish(self, figures: Mapping[str, float], *, failed: bool) -> None:
        """End the run.

        Args:
            figures: What it came to, by name.
            failed: Whether it ended with an error.
        """
