"""Shared savepoints: ranks save their states after the same update, and go on from the newest that all of them have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from expunge.engine.processes import Council
from expunge.engine.savepoints import Every, Savepoints
from expunge.engine.state_files import number_of, rank_folder
from expunge.engine.stopping import Stopping
from expunge.errors import CheckpointError

NOW = 1
"""What the first rank says when its clock has run out; signals that end a run have larger numbers."""


class SharedSavepoints(Savepoints):
    """The savepoints of one of several ranks, in a folder of its own.

    The first rank's clock, or a signal to any of them, says when: one collective of one number after every update.
    A savepoint counts if every rank has written it. Each rank keeps two, and none goes on before all have written: of
    those two one is whole on all of them, wherever they are killed.

    Args:
        run: Where every rank has its folder.
        every: How often.
        stopping: Asked between updates whether a signal wants the run to end. Default: the process's own.
        council: The ranks. Default: all of torch.distributed.
        force: Whether to go on with what other code began. Default false.
    """

    def __init__(
        self,
        run: Path,
        every: Every | None = None,
        stopping: Stopping | None = None,
        council: Council | None = None,
        *,
        force: bool = False,
    ) -> None:
        self.council = council or Council()
        super().__init__(rank_folder(run, self.council.rank, self.council.size), every, stopping, force=force)
        self.run, self.size = run, self.council.size
        self.signal: int | None = None

    def open(self, subject: Mapping[str, Any]) -> bool:
        """Read the newest savepoint that is whole on every rank, and return whether there is one.

        Raises:
            CheckpointError: If the savepoints are of another run or of another number of ranks, or none is whole.
        """
        found = super().open(subject)
        for path in self.files():
            if number_of(path) > self.number:
                path.unlink()
        # Else a rank could write a number anew of which another one still has the old state.
        self.council.everyone(None)
        return found

    def newest(self) -> dict[str, Any] | None:
        """Return the newest state that is whole on every rank; None where none has ever been.

        Raises:
            CheckpointError: If there was one.
        """
        held = self.council.everyone([number_of(path) for path in self.files()])
        paths = {number_of(path): path for path in self.files()}
        for number in sorted(set.intersection(*map(set, held)), reverse=True):
            state = self.whole(paths[number])
            if all(self.council.everyone(state is not None)):
                self.number = number
                return state
        self.refuse_lost(held)
        return None

    def refuse_lost(self, held: list[list[int]]) -> None:
        """Refuse to begin anew where more was saved than a first savepoint that some ranks had not written yet."""
        damaged = [told for rank in self.council.everyone(self.passed_over) for told in rank]
        first_only = max((number for numbers in held for number in numbers), default=0) <= 1
        if first_only and not all(held):
            return
        found = "; ".join(damaged) or "none that all have"
        raise CheckpointError("a savepoint that is whole on every rank", found, f"remove '{self.run}' to begin anew")

    def jointly(self, act: Callable[[], None]) -> None:
        """Do what every rank has to succeed in; where one fails, all do."""
        with self.council.jointly():
            act()

    def due(self) -> bool:
        """Return whether the state is to be saved now: what the first rank's clock, or a signal to any of them, says.

        All ranks have to ask, and all get one answer.
        """
        own = self.stopping.asked or (NOW if self.council.rank == 0 and self.reached else 0)
        found = self.council.largest(own)
        self.signal = found if found > NOW else None
        return found > 0

    @property
    def asked(self) -> int | None:
        """The signal that the ranks have agreed to end for; one that came since waits for the next agreement."""
        return self.signal

    def write(self) -> None:
        """Write this rank's state, and wait until all have written theirs.

        Raises:
            CheckpointError: If one of them cannot; the savepoint before stands.
        """
        self.jointly(super().write)
