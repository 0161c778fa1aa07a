"""Stopping: a signal ends a run between two updates and never inside one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

HANDLED_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A run that a signal ended, its state saved as far as there is one.

    Args:
        signal_number: The signal's number.
        message: What is to be told, one sentence.
    """

    def __init__(self, signal_number: int, message: str = "") -> None:
        super().__init__(message)
        self.signal_number, self.message = signal_number, message

    @property
    def code(self) -> int:
        """The exit code: 130 after the interrupt key, 143 after SIGTERM."""
        return 128 + self.signal_number


class SignalHandler:
    """Holds signals back while something is done that must be whole, and raises ``Interrupted`` at once elsewhere.

    A second signal of a kind is not held back: what hangs can be ended.
    """

    def __init__(self) -> None:
        self.pending_signal: int | None = None
        self.defer_depth = 0

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        """Take note of a signal, or raise."""
        if self.defer_depth and self.pending_signal is None:
            self.pending_signal = number
        else:
            raise Interrupted(number)

    @contextmanager
    def defer(self) -> Iterator[None]:
        """Let a signal wait until the body is done; who lends the body asks ``asked`` afterwards."""
        self.defer_depth += 1
        try:
            yield
        finally:
            self.defer_depth -= 1

    @contextmanager
    def install(self) -> Iterator[None]:
        """Answer SIGTERM and the interrupt key in the body; only the main thread can, others leave things as they are.

        Raises:
            Stopped: If a signal came.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.pending_signal = None
        before = {number: signal.signal(number, self.handle) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            self.pending_signal = None
            for number, handler in before.items():
                signal.signal(number, handler)


PROCESS_SIGNALS = SignalHandler()
"""What signals to this process ask for: they belong to the process, not to a run."""
