"""Landing: the end of a run whose request is met."""

from __future__ import annotations

from math import cos, pi
from typing import NamedTuple

from expunge.surgery import Progress


class Landing(NamedTuple):
    """The learning rate falls to nothing along half a cosine, over as many updates as have been made, and then it ends.

    What is left of the run would forget no more; a landing lets the model settle.

    Args:
        start: Updates before it.
        end: Updates until its end.

    Examples:
        >>> landing = Landing.after(Progress(29, 100, 0), least=20)
        >>> landing, landing.factor(Progress(59, 100, 0))
        (Landing(start=30, end=60), 0.0)
    """

    start: int
    end: int

    @classmethod
    def after(cls, progress: Progress, least: int) -> Landing:
        """Return the landing that begins after an update.

        Args:
            progress: Of the update.
            least: Updates that it takes, unless the run ends before.
        """
        start = progress.step + 1
        return cls(start, min(progress.total, start + max(start, least)))

    def share(self, done: int) -> float:
        """Return what is left of the rate after so many updates."""
        length = max(1, self.end - self.start)
        return 0.5 * (1 + cos(pi * min(1.0, (done - self.start) / length)))

    def factor(self, progress: Progress) -> float:
        """Return the factor by which the rate changes after an update."""
        done = progress.step + 1
        before = self.share(max(self.start, done - 1))
        return self.share(done) / before if before > 0 else 0.0
