"""Tried: what a search has found so far, so that a run that is gone on with repeats no trial and decides alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from expunge.api.steering.trial import Trial
from expunge.engine import Savepoints
from expunge.engine.randomness import generators_now, put_generators


class Tried:
    """The trials of a search, round by round, and what it came to.

    Args:
        savepoints: Saved after every trial, which is short and whose state is small. Default: nowhere.
    """

    def __init__(self, savepoints: Savepoints | None = None) -> None:
        self.savepoints, self.began = savepoints, time.perf_counter()
        self.vote: dict[str, Any] | None = None
        self.rounds: list[list[Trial]] = []
        self.outcome: dict[str, Any] | None = None
        if savepoints is not None:
            savepoints.attach("search", self)

    def note(self) -> None:
        """Save what has just been found."""
        if self.savepoints is not None:
            self.savepoints.save()

    def state_dict(self) -> dict[str, Any]:
        """Return everything as plain values; the seconds are those of the search in all sittings."""
        return {
            "vote": self.vote,
            "rounds": [[trial._asdict() for trial in trials] for trials in self.rounds],
            "outcome": self.outcome,
            "seconds": time.perf_counter() - self.began,
            "generators": generators_now(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.vote, self.outcome = state["vote"], state["outcome"]
        self.rounds = [[Trial(**trial) for trial in trials] for trials in state["rounds"]]
        self.began = time.perf_counter() - state["seconds"]
        put_generators(state["generators"])
