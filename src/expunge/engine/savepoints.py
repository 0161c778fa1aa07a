"""Savepoints: everything a run has to know to go on after it was killed, written from time to time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from expunge.engine.randomness import generators_now, put_generators
from expunge.engine.state_files import number_of, refuse_another_number, remove_halves, state_file, state_files
from expunge.engine.stopping import PROCESS, Stopped, Stopping
from expunge.errors import CheckpointError
from expunge.weights import load_state, save_state

CODE = "code"
"""Key of the code in what a run is about."""
KEPT = 2
"""Savepoints that stay: the newest, and the one before it in case the newest is damaged."""
SHARE = 0.02
"""Share of the run's time that savepoints may take: large models are saved less often."""
AGAIN = "free the disk, then go on from the last savepoint with --resume (resume=)"


class Stateful(Protocol):
    """A part of a run that knows what it would need to go on."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return it as plain values and tensors."""

    def load_state_dict(self, state: Mapping[str, Any]) -> Any:
        """Go on from there."""


@dataclass(frozen=True)
class Every:
    """How often a run saves its state: whenever one of the two is reached.

    Args:
        seconds: Since the last savepoint; more where savepoints would take more than 2 % of the time. Default 60.
        updates: Since the last savepoint. Default: no such limit.
    """

    seconds: float = 60.0
    updates: int | None = None


class Savepoints:
    """Writes the state of a run's parts into a folder, and gives it back to them in a later process.

    A part is attached under a name as soon as it exists; if the run goes on from a savepoint, it is told its state
    then. Files are written under a temporary name, synced and renamed, with a digest; a damaged one is passed over
    for the one before it. No decision looks at the clock on the wall.

    Args:
        folder: Where; nobody else's, and locked by the caller.
        every: How often.
        stopping: Asked between updates whether a signal wants the run to end. Default: the process's own.
        force: Whether to go on with what other code began. Default false.
    """

    def __init__(
        self, folder: Path, every: Every | None = None, stopping: Stopping | None = None, *, force: bool = False
    ) -> None:
        self.folder, self.every, self.stopping, self.force = folder, every or Every(), stopping or PROCESS, force
        self.run, self.size = folder, 1
        self.subject: Mapping[str, Any] = {}
        self.first: Any = None
        self.parts: dict[str, Stateful] = {}
        self.found: dict[str, Any] = {}
        self.passed_over: list[str] = []
        self.number, self.updates, self.cost, self.earlier = 0, 0, 0.0, 0.0
        self.began = self.last = time.monotonic()

    def open(self, subject: Mapping[str, Any]) -> bool:
        """Read the newest savepoint that is whole, and return whether there is one.

        Args:
            subject: What the run is about, as plain values; nothing else may be gone on with. Under ``CODE`` is which
                code computes, and ``force`` goes on with other code.

        Raises:
            CheckpointError: If the savepoints are of another run or of another number of processes, or none is whole.
        """
        self.subject = subject
        self.jointly(lambda: refuse_another_number(self.run, self.size))
        remove_halves(self.folder)
        state = self.newest()
        if state is None:
            self.first = generators_now()
            return False
        self.jointly(lambda: refuse_other(subject, state["subject"], self.folder, self.force))
        self.first, self.earlier, self.found = state["first"], state["seconds"], state["parts"]
        with reading_state("random generators", self.folder):
            put_generators(self.first)
        return True

    def newest(self) -> dict[str, Any] | None:
        """Return the newest state that is whole; None where nothing was saved.

        Raises:
            CheckpointError: If something was saved and none of it is whole.
        """
        for path in reversed(self.files()):
            self.number = max(self.number, number_of(path))
            state = self.whole(path)
            if state is not None:
                return state
        if self.passed_over:
            cure = f"remove '{self.folder}' to begin anew"
            raise CheckpointError("a savepoint that is whole", "; ".join(self.passed_over), cure)
        return None

    def whole(self, path: Path) -> dict[str, Any] | None:
        """Return the state that a file holds; None, and a note, where it is not whole."""
        try:
            state = load_state(path)
        except CheckpointError as error:
            self.passed_over.append(f"{path.name}: {error.found}")
            return None
        if not is_state_of_run(state):
            self.passed_over.append(f"{path.name}: not the state of a run")
            return None
        return state

    def jointly(self, act: Callable[[], None]) -> None:
        """Do what every process that shares the run has to succeed in."""
        act()

    def files(self) -> list[Path]:
        """Return the savepoints, the oldest first."""
        return state_files(self.folder)

    def attach(self, name: str, part: Stateful) -> bool:
        """Save a part from now on, and give it the state that was found for it; return whether there was one."""
        found = self.found.pop(name, None)
        if found is not None:
            with reading_state(name, self.folder):
                part.load_state_dict(found)
        self.parts[name] = part
        return found is not None

    def update(self) -> AbstractContextManager[None]:
        """Return the context of one update, which no signal interrupts."""
        self.updates += 1
        return self.stopping.held_back()

    def due(self) -> bool:
        """Return whether the state is to be saved now; ranks agree on it, so that all have to ask."""
        return self.asked is not None or self.reached

    @property
    def asked(self) -> int | None:
        """The signal that wants the run to end, if there is one."""
        return self.stopping.asked

    @property
    def reached(self) -> bool:
        """Whether one of the limits since the last savepoint is reached."""
        passed = time.monotonic() - self.last >= max(self.every.seconds, self.cost / SHARE)
        return passed or (self.every.updates is not None and self.updates >= self.every.updates)

    @property
    def seconds(self) -> float:
        """What the run took so far, in all its sittings; what was lost between them is not counted."""
        return self.earlier + time.monotonic() - self.began

    def save(self) -> None:
        """Write the state of every part, and end the run if a signal asked for it.

        Raises:
            CheckpointError: If it cannot be written; the savepoint before stands.
            Stopped: If a signal came.
        """
        with self.stopping.held_back():
            self.write()
        if self.asked is not None:
            raise Stopped(self.asked)

    def write(self) -> None:
        """Write the state of every part, and remove all but the newest files."""
        began = time.monotonic()
        parts = {**self.found, **{name: part.state_dict() for name, part in self.parts.items()}}
        state = {"subject": self.subject, "first": self.first, "seconds": self.seconds, "parts": parts}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_state(state, state_file(self.folder, self.number + 1))
        except OSError as error:
            raise CheckpointError(f"to write into '{self.folder}'", error.strerror or "an error", AGAIN) from error
        except CheckpointError as error:
            raise CheckpointError(error.expected, error.found, AGAIN) from error
        self.number += 1
        for path in self.files()[:-KEPT]:
            with suppress(OSError):
                path.unlink()
        self.last, self.updates = time.monotonic(), 0
        self.cost = self.last - began

    def clear(self) -> None:
        """Remove every savepoint: the run is done, and they hold the original's weights."""
        for path in self.files():
            path.unlink()


def is_state_of_run(state: Mapping[str, Any]) -> bool:
    """Return whether a file's contents have the form that ``Savepoints.write`` gives them."""
    seconds, parts = state.get("seconds"), state.get("parts")
    timed = isinstance(seconds, int | float) and math.isfinite(seconds) and seconds >= 0
    mappings = all(isinstance(state.get(name), Mapping) for name in ("subject", "first", "parts"))
    return timed and mappings and isinstance(parts, Mapping) and all(isinstance(p, Mapping) for p in parts.values())


@contextmanager
def reading_state(part: str, folder: Path) -> Iterator[None]:
    """Turn whatever a part raises over a state that is not its own into one sentence.

    Raises:
        CheckpointError: If the body raises anything but an error of Expunge or of memory.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        found = f"something else ({type(error).__name__})"
        cure = f"remove '{folder}' to begin anew"
        raise CheckpointError(f"the state of the run's {part} in the savepoint in '{folder}'", found, cure) from error


def count_in(state: Mapping[str, Any], name: str, most: int) -> int:
    """Return a count that a state holds.

    Raises:
        ValueError: If it is no whole number from 0 to ``most``.
    """
    value = state[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"{name} has to be a whole number from 0 to {most}")
    return value


def check_kinds(state: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Check that a state has the values of one's own, each of the same type.

    Raises:
        TypeError: If it has not.
    """
    if {name: type(value) for name, value in state.items()} != {name: type(value) for name, value in own.items()}:
        raise TypeError("values of other types")


def check_moments(state: Mapping[str, Any]) -> None:
    """Check what an optimizer holds of each weight: the same of all, tensors, and a number of steps.

    Raises:
        TypeError: If it holds something else.
    """
    held = list(state["state"].values())
    if any(set(moments) != set(held[0]) for moments in held):
        raise TypeError("other moments of some weights")
    for name, value in [item for moments in held for item in moments.items()]:
        counted = name == "step" and isinstance(value, int | float | Tensor) and float(value) >= 0
        moment = name != "step" and isinstance(value, Tensor) and not value.is_complex()
        if not (counted or moment or (name == "momentum_buffer" and value is None)):
            raise TypeError(f"{name} has to be a tensor")


def refuse_other(subject: Mapping[str, Any], saved: Mapping[str, Any], folder: Path, force: bool = False) -> None:
    """Refuse savepoints of another run.

    Raises:
        CheckpointError: If they differ in what they are about.
    """
    other = [name for name in {**subject, **saved} if subject.get(name) != saved.get(name)]
    if other == [CODE]:
        if not force:
            cure = "go on with that code, or pass --force (resume=Savepoints(folder, force=True))"
            raise CheckpointError(
                f"the code that the run in '{folder}' was begun with", other_code(subject, saved), cure
            )
        return
    if other:
        cure = "ask for the same as before, or name another folder"
        raise CheckpointError(f"the run that '{folder}' was begun for", f"a change of {' and '.join(other)}", cure)


def other_code(subject: Mapping[str, Any], saved: Mapping[str, Any]) -> str:
    """Return in words what of the code is another."""
    now, then = (dict(part.get(CODE) or {}) for part in (subject, saved))
    names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    if "expunge" in names:
        return f"version {now.get('expunge')} instead of {then.get('expunge', 'an unknown one')}"
    return "changed sources of " + ", ".join(sorted("expunge" if name == CODE else name for name in names)[:3])
