"""Tried: what a search has found so far, so that a run that is gone on with repeats no trial and decides alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from expunge.api.steering.trial import Trial
from expunge.engine import CheckpointManager
from expunge.engine.randomness import get_rng_states, set_rng_states


class SearchState:
    """The trials of a search, round by round, and what it came to.

    Args:
        checkpoints: Saved after every trial, which is short and whose state is small. Default: nowhere.
    """

    def __init__(self, checkpoints: CheckpointManager | None = None) -> None:
        self.checkpoints, self.start_time = checkpoints, time.perf_counter()
        self.knn_settings: dict[str, Any] | None = None
        self.rounds: list[list[Trial]] = []
        self.outcome: dict[str, Any] | None = None
        if checkpoints is not None:
            checkpoints.register("search", self)

    def save(self) -> None:
        """Save what has just been found."""
        if self.checkpoints is not None:
            self.checkpoints.save()

    def state_dict(self) -> dict[str, Any]:
        """Return everything as plain values; the seconds are those of the search before and after a resume."""
        return {
            "vote": self.knn_settings,
            "rounds": [[trial._asdict() for trial in trials] for trials in self.rounds],
            "outcome": self.outcome,
            "seconds": time.perf_counter() - self.start_time,
            "generators": get_rng_states(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.knn_settings, self.outcome = state["vote"], state["outcome"]
        self.rounds = [[Trial(**trial) for trial in trials] for trials in state["rounds"]]
        self.start_time = time.perf_counter() - state["seconds"]
        set_rng_states(state["generators"])
