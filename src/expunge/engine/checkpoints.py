"""Checkpoints: everything a run has to know to go on after it was killed, written from time to time."""

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

from expunge.engine.checkpoint_files import (
    check_world_size,
    parse_index,
    remove_partial_states,
    state_files,
    state_path,
)
from expunge.engine.randomness import get_rng_states, set_rng_states
from expunge.engine.signals import PROCESS_SIGNALS, Interrupted, SignalHandler
from expunge.errors import CheckpointError
from expunge.weights import load_state, save_state

CODE_KEY = "code"
"""Key of the code in what a run is about."""
MAX_CHECKPOINTS = 2
"""Checkpoints that stay: the newest, and the one before it in case the newest is damaged."""
MAX_SAVE_FRACTION = 0.02
"""Share of the run's time that checkpoints may take: large models are saved less often."""
DISK_FULL_HINT = "free the disk, then go on from the last checkpoint with --resume (checkpoints=)"


class Stateful(Protocol):
    """A part of a run that knows what it would need to go on."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return it as plain values and tensors."""

    def load_state_dict(self, state: Mapping[str, Any]) -> Any:
        """Go on from there."""


@dataclass(frozen=True)
class SaveInterval:
    """How often a run saves its state: whenever one of the two is reached.

    Args:
        seconds: Since the last checkpoint; more where checkpoints would take more than 2 % of the time. Default 60.
        steps: Since the last checkpoint. Default: no such limit.
    """

    seconds: float = 60.0
    steps: int | None = None


class CheckpointManager:
    """Writes the state of a run's parts into a folder, and gives it back to them in a later process.

    A part is attached under a name as soon as it exists; if the run goes on from a checkpoint, it is told its state
    then. Files are written under a temporary name, synced and renamed, with a digest; a damaged one is passed over
    for the one before it. No decision looks at the clock on the wall.

    Args:
        folder: Where; nobody else's, and locked by the caller.
        interval: How often.
        signals: Asked between updates whether a signal wants the run to end. Default: the process's own.
        force: Whether to go on with what other code began. Default false.
    """

    def __init__(
        self,
        folder: Path,
        interval: SaveInterval | None = None,
        signals: SignalHandler | None = None,
        *,
        force: bool = False,
    ) -> None:
        self.folder, self.interval, self.signals, self.force = (
            folder,
            interval or SaveInterval(),
            signals or PROCESS_SIGNALS,
            force,
        )
        self.run_folder, self.world_size = folder, 1
        self.fingerprint: Mapping[str, Any] = {}
        self.initial_rng_states: Any = None
        self.parts: dict[str, Stateful] = {}
        self.loaded_states: dict[str, Any] = {}
        self.skipped_files: list[str] = []
        self.last_index, self.updates, self.save_seconds, self.previous_seconds = 0, 0, 0.0, 0.0
        self.start_time = self.last_save_time = time.monotonic()

    def open(self, fingerprint: Mapping[str, Any]) -> bool:
        """Read the newest checkpoint that is whole, and return whether there is one.

        Args:
            fingerprint: What the run is about, as plain values; nothing else may be gone on with. Under ``CODE_KEY`` is
                which code computes, and ``force`` goes on with other code.

        Raises:
            CheckpointError: If the checkpoints are of another run or of another number of processes, or none is whole.
        """
        self.fingerprint = fingerprint
        self.run_on_all_ranks(lambda: check_world_size(self.run_folder, self.world_size))
        remove_partial_states(self.folder)
        state = self.load_newest()
        if state is None:
            self.initial_rng_states = get_rng_states()
            return False
        self.run_on_all_ranks(lambda: check_same_run(fingerprint, state["subject"], self.folder, self.force))
        self.initial_rng_states, self.previous_seconds, self.loaded_states = (
            state["first"],
            state["seconds"],
            state["parts"],
        )
        with reading_state("random generators", self.folder):
            set_rng_states(self.initial_rng_states)
        return True

    def load_newest(self) -> dict[str, Any] | None:
        """Return the newest state that is whole; None where nothing was saved.

        Raises:
            CheckpointError: If something was saved and none of it is whole.
        """
        for path in reversed(self.list_files()):
            self.last_index = max(self.last_index, parse_index(path))
            state = self.load_valid(path)
            if state is not None:
                return state
        if self.skipped_files:
            hint = f"remove '{self.folder}' to begin anew"
            raise CheckpointError("a checkpoint that is whole", "; ".join(self.skipped_files), hint)
        return None

    def load_valid(self, path: Path) -> dict[str, Any] | None:
        """Return the state that a file holds; None, and a note, where it is not whole."""
        try:
            state = load_state(path)
        except CheckpointError as error:
            self.skipped_files.append(f"{path.name}: {error.actual}")
            return None
        if not is_run_state(state):
            self.skipped_files.append(f"{path.name}: not the state of a run")
            return None
        return state

    def run_on_all_ranks(self, action: Callable[[], None]) -> None:
        """Do what every process that shares the run has to succeed in."""
        action()

    def list_files(self) -> list[Path]:
        """Return the checkpoints, the oldest first."""
        return state_files(self.folder)

    def register(self, name: str, part: Stateful) -> bool:
        """Save a part from now on, and give it the state that was found for it; return whether there was one."""
        state = self.loaded_states.pop(name, None)
        if state is not None:
            with reading_state(name, self.folder):
                part.load_state_dict(state)
        self.parts[name] = part
        return state is not None

    def protect_update(self) -> AbstractContextManager[None]:
        """Return the context of one update, which no signal interrupts."""
        self.updates += 1
        return self.signals.defer()

    def is_due(self) -> bool:
        """Return whether the state is to be saved now; ranks agree on it, so that all have to ask."""
        return self.pending_signal is not None or self.is_interval_elapsed

    @property
    def pending_signal(self) -> int | None:
        """The signal that wants the run to end, if there is one."""
        return self.signals.pending_signal

    @property
    def is_interval_elapsed(self) -> bool:
        """Whether one of the limits since the last checkpoint is reached."""
        passed = time.monotonic() - self.last_save_time >= max(
            self.interval.seconds, self.save_seconds / MAX_SAVE_FRACTION
        )
        return passed or (self.interval.steps is not None and self.updates >= self.interval.steps)

    @property
    def seconds(self) -> float:
        """Seconds that the run took so far, before and after each resume; what was lost in between is not counted."""
        return self.previous_seconds + time.monotonic() - self.start_time

    def save(self) -> None:
        """Write the state of every part, and end the run if a signal asked for it.

        Raises:
            CheckpointError: If it cannot be written; the checkpoint before stands.
            Stopped: If a signal came.
        """
        with self.signals.defer():
            self.write_state()
        if self.pending_signal is not None:
            raise Interrupted(self.pending_signal)

    def write_state(self) -> None:
        """Write the state of every part, and remove all but the newest files."""
        start_time = time.monotonic()
        parts = {**self.loaded_states, **{name: part.state_dict() for name, part in self.parts.items()}}
        state = {"subject": self.fingerprint, "first": self.initial_rng_states, "seconds": self.seconds, "parts": parts}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_state(state, state_path(self.folder, self.last_index + 1))
        except OSError as error:
            raise CheckpointError(
                f"to write into '{self.folder}'", error.strerror or "an error", DISK_FULL_HINT
            ) from error
        except CheckpointError as error:
            raise CheckpointError(error.expected, error.actual, DISK_FULL_HINT) from error
        self.last_index += 1
        for path in self.list_files()[:-MAX_CHECKPOINTS]:
            with suppress(OSError):
                path.unlink()
        self.last_save_time, self.updates = time.monotonic(), 0
        self.save_seconds = self.last_save_time - start_time

    def clear(self) -> None:
        """Remove every checkpoint: the run is done, and they hold the original's weights."""
        for path in self.list_files():
            path.unlink()


def is_run_state(state: Mapping[str, Any]) -> bool:
    """Return whether a file's contents have the form that ``CheckpointManager.write`` gives them."""
    seconds, parts = state.get("seconds"), state.get("parts")
    has_seconds = isinstance(seconds, int | float) and math.isfinite(seconds) and seconds >= 0
    mappings = all(isinstance(state.get(name), Mapping) for name in ("subject", "first", "parts"))
    return (
        has_seconds and mappings and isinstance(parts, Mapping) and all(isinstance(p, Mapping) for p in parts.values())
    )


@contextmanager
def reading_state(part: str, folder: Path) -> Iterator[None]:
    """Turn whatever a part raises over a state that is not its own into one sentence."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        actual = f"something else ({type(error).__name__})"
        hint = f"remove '{folder}' to begin anew"
        raise CheckpointError(f"the state of the run's {part} in the checkpoint in '{folder}'", actual, hint) from error


def read_count(state: Mapping[str, Any], name: str, maximum: int) -> int:
    """Return a count that a state holds."""
    value = state[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= maximum:
        raise ValueError(f"{name} has to be a whole number from 0 to {maximum}")
    return value


def check_same_types(state: Mapping[str, Any], reference: Mapping[str, Any]) -> None:
    """Check that a state has the values of one's own, each of the same type."""
    if {name: type(value) for name, value in state.items()} != {name: type(value) for name, value in reference.items()}:
        raise TypeError("values of other types")


def check_optimizer_state(state: Mapping[str, Any]) -> None:
    """Check what an optimizer holds of each weight: the same of all, tensors, and a number of steps."""
    states = list(state["state"].values())
    if any(set(moments) != set(states[0]) for moments in states):
        raise TypeError("other moments of some weights")
    for name, value in [item for moments in states for item in moments.items()]:
        counted = name == "step" and isinstance(value, int | float | Tensor) and float(value) >= 0
        moment = name != "step" and isinstance(value, Tensor) and not value.is_complex()
        if not (counted or moment or (name == "momentum_buffer" and value is None)):
            raise TypeError(f"{name} has to be a tensor")


def check_same_run(fingerprint: Mapping[str, Any], saved: Mapping[str, Any], folder: Path, force: bool = False) -> None:
    """Refuse checkpoints of another run."""
    differing = [name for name in {**fingerprint, **saved} if fingerprint.get(name) != saved.get(name)]
    if differing == [CODE_KEY]:
        if not force:
            hint = "go on with that code, or pass --force (checkpoints=CheckpointManager(folder, force=True))"
            raise CheckpointError(
                f"the code that the run in '{folder}' was begun with", describe_code_change(fingerprint, saved), hint
            )
        return
    if differing:
        hint = "ask for the same as before, or name another folder"
        raise CheckpointError(f"the run that '{folder}' was begun for", f"a change of {' and '.join(differing)}", hint)


def describe_code_change(fingerprint: Mapping[str, Any], saved: Mapping[str, Any]) -> str:
    """Return in words what of the code is another."""
    now, then = (dict(part.get(CODE_KEY) or {}) for part in (fingerprint, saved))
    names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    if "expunge" in names:
        return f"version {now.get('expunge')} instead of {then.get('expunge', 'an unknown one')}"
    return "changed sources of " + ", ".join(sorted("expunge" if name == CODE_KEY else name for name in names)[:3])
