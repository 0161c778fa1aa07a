"""Landing: the end of a run whose request is met."""

from __future__ import annotations

from math import cos, pi
from typing import NamedTuple

from expunge.surgery import Progress


class Landing(NamedTuple):
    """The learning rate falls to nothing along half a cosine, until the last update of the run.

    What is left of the run would forget no more; it lets the model settle.

    Args:
        start: Updates before it.
        end: Updates until its end.

    Examples:
        >>> landing = Landing.after(Progress(9, 100, 0))
        >>> landing, landing.factor(Progress(99, 100, 0))
        (Landing(start=10, end=100), 0.0)
    """

    start: int
    end: int

    @classmethod
    def after(cls, progress: Progress) -> Landing:
        """Return the landing that begins after an update and ends with the run."""
        return cls(progress.step + 1, progress.total)

    def share(self, done: int) -> float:
        """Return what is left of the rate after so many updates."""
        length = max(1, self.end - self.start)
        return 0.5 * (1 + cos(pi * min(1.0, (done - self.start) / length)))

    def factor(self, progress: Progress) -> float:
        """Return the factor by which the rate changes after an update."""
        done = progress.step + 1
        before = self.share(max(self.start, done - 1))
        return self.share(done) / before if before > 0 else 0.0
