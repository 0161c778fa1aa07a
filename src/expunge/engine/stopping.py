"""Stopping: a signal ends a run between two updates and never inside one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A run that a signal ended, its state saved as far as there is one.

    Args:
        signal: The signal's number.
        told: What is to be told, one sentence.
    """

    def __init__(self, signal: int, told: str = "") -> None:
        super().__init__(told)
        self.signal, self.told = signal, told

    @property
    def code(self) -> int:
        """The exit code: 130 after the interrupt key, 143 after SIGTERM."""
        return 128 + self.signal


class Stopping:
    """Holds signals back while something is done that must be whole, and raises ``Stopped`` at once elsewhere.

    A second signal of a kind is not held back: what hangs can be ended.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self.depth = 0

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        """Take note of a signal, or raise."""
        if self.depth and self.asked is None:
            self.asked = number
        else:
            raise Stopped(number)

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Let a signal wait until the body is done; who lends the body asks ``asked`` afterwards."""
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Answer SIGTERM and the interrupt key in the body; only the main thread can, others leave things as they are.

        Raises:
            Stopped: If a signal came.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.asked = None
        before = {number: signal.signal(number, self.handle) for number in SIGNALS}
        try:
            yield
        finally:
            self.asked = None
            for number, handler in before.items():
                signal.signal(number, handler)


PROCESS = Stopping()
"""What signals to this process ask for: they belong to the process, not to a run."""
