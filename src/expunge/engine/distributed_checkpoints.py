"""Distributed checkpoints: ranks save their states after the same update, and continue from one that all have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from expunge.engine.checkpoint_files import parse_index, rank_folder
from expunge.engine.checkpoints import CheckpointManager, SaveInterval
from expunge.engine.control_group import ControlGroup
from expunge.engine.signals import SignalHandler
from expunge.errors import CheckpointError

SAVE_NOW = 1
"""What the first rank says when its clock has run out; signals that end a run have larger numbers."""


class DistributedCheckpointManager(CheckpointManager):
    """The checkpoints of one of several ranks, in a folder of its own.

    The first rank's clock, or a signal to any of them, says when: one collective of one number after every update.
    A checkpoint counts if every rank has written it. Each rank keeps two, and none goes on before all have written: of
    those two one is whole on all of them, wherever they are killed.

    Args:
        run_folder: Where every rank has its folder.
        interval: How often.
        signals: Asked between updates whether a signal wants the run to end. Default: the process's own.
        control_group: The ranks. Default: all of torch.distributed.
        force: Whether to go on with what other code began. Default false.
    """

    def __init__(
        self,
        run_folder: Path,
        interval: SaveInterval | None = None,
        signals: SignalHandler | None = None,
        control_group: ControlGroup | None = None,
        *,
        force: bool = False,
    ) -> None:
        self.control_group = control_group or ControlGroup()
        super().__init__(
            rank_folder(run_folder, self.control_group.rank, self.control_group.size), interval, signals, force=force
        )
        self.run_folder, self.world_size = run_folder, self.control_group.size
        self.agreed_signal: int | None = None

    def open(self, fingerprint: Mapping[str, Any]) -> bool:
        """Read the newest checkpoint that is whole on every rank, and return whether there is one.

        Raises:
            CheckpointError: If the checkpoints are of another run or of another number of ranks, or none is whole.
        """
        has_state = super().open(fingerprint)
        for path in self.list_files():
            if parse_index(path) > self.last_index:
                path.unlink()
        # Else a rank could write a number anew of which another one still has the old state.
        self.control_group.all_gather(None)
        return has_state

    def load_newest(self) -> dict[str, Any] | None:
        """Return the newest state that is whole on every rank; None where none has ever been.

        Raises:
            CheckpointError: If there was one.
        """
        available = self.control_group.all_gather([parse_index(path) for path in self.list_files()])
        paths = {parse_index(path): path for path in self.list_files()}
        for number in sorted(set.intersection(*map(set, available)), reverse=True):
            state = self.load_valid(paths[number])
            if all(self.control_group.all_gather(state is not None)):
                self.last_index = number
                return state
        self.check_none_lost(available)
        return None

    def check_none_lost(self, available: list[list[int]]) -> None:
        """Refuse to begin anew where more was saved than a first checkpoint that some ranks had not written yet."""
        damaged = [note for rank in self.control_group.all_gather(self.skipped_files) for note in rank]
        first_only = max((number for numbers in available for number in numbers), default=0) <= 1
        if first_only and not all(available):
            return
        actual = "; ".join(damaged) or "none that all have"
        raise CheckpointError(
            "a checkpoint that is whole on every rank", actual, f"remove '{self.run_folder}' to begin anew"
        )

    def run_on_all_ranks(self, action: Callable[[], None]) -> None:
        """Do what every rank has to succeed in; where one fails, all do."""
        with self.control_group.sync_errors():
            action()

    def is_due(self) -> bool:
        """Return whether the state is to be saved now: what the first rank's clock, or a signal to any of them, says.

        All ranks have to ask, and all get one answer.
        """
        own_signal = self.signals.pending_signal or (
            SAVE_NOW if self.control_group.rank == 0 and self.is_interval_elapsed else 0
        )
        largest = self.control_group.all_reduce_max(own_signal)
        self.agreed_signal = largest if largest > SAVE_NOW else None
        return largest > 0

    @property
    def pending_signal(self) -> int | None:
        """The signal that the ranks have agreed to end for; one that came since waits for the next agreement."""
        return self.agreed_signal

    def write_state(self) -> None:
        """Write this rank's state, and wait until all have written theirs.

        Raises:
            CheckpointError: If one of them cannot; the checkpoint before stands.
        """
        self.run_on_all_ranks(super().write_state)
