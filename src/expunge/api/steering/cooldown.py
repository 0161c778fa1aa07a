"""Cool-down: the end of a run whose request is met."""

from __future__ import annotations

from math import cos, pi
from typing import NamedTuple

from expunge.surgery import Progress


class Cooldown(NamedTuple):
    """The learning rate falls to nothing along half a cosine, over as many updates as have been made, and then it ends.

    What is left of the run would forget no more; a falling rate lets the model settle.

    Args:
        start: Updates before it.
        end: Updates until its end.

    Examples:
        >>> cooldown = Cooldown.starting_after(Progress(29, 100, 0), min_steps=20)
        >>> cooldown, cooldown.lr_factor(Progress(59, 100, 0))
        (Cooldown(start=30, end=60), 0.0)
    """

    start: int
    end: int

    @classmethod
    def starting_after(cls, progress: Progress, min_steps: int) -> Cooldown:
        """Return the cool-down that begins after an update."""
        start = progress.step + 1
        return cls(start, min(progress.total, start + max(start, min_steps)))

    def lr_fraction(self, steps_done: int) -> float:
        """Return what is left of the rate after so many updates."""
        length = max(1, self.end - self.start)
        return 0.5 * (1 + cos(pi * min(1.0, (steps_done - self.start) / length)))

    def lr_factor(self, progress: Progress) -> float:
        """Return the factor by which the rate changes after an update."""
        steps_done = progress.step + 1
        before = self.lr_fraction(max(self.start, steps_done - 1))
        return self.lr_fraction(steps_done) / before if before > 0 else 0.0
