"""Several trackers of one run, none of which can spoil it."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from expunge.errors import ConfigError
from expunge.kinds import kinds_checked
from expunge.registry import find
from expunge.trackers.tracker import Plain, Tracker

Rows = list[dict[str, Any]]
NOT_VALUES = {"step", "epoch"}


class Tracks:
    """The trackers of one run; a context that ends them, as failed where its body raises.

    A tracker that raises is left out from there on, after one warning.

    Args:
        trackers: Those to tell; perhaps none.

    Attributes:
        complete: Adds to rows of the history what was measured after them; set by who knows.
    """

    @kinds_checked
    def __init__(self, trackers: Sequence[Tracker] = ()) -> None:
        self.trackers, self.begun = list(trackers), False
        self.figures: dict[str, float] = {}
        self.waiting: Rows = []
        self.complete: Callable[[Rows], Rows] = list

    def start(self, settings: Mapping[str, Any]) -> None:
        """Begin the run, with those of the settings that are plain values."""
        self.begun = True
        plain = {name: value for name, value in settings.items() if isinstance(value, Plain)}
        self.each(lambda tracker: tracker.start(plain))

    def rows(self, rows: Rows) -> None:
        """Take new rows of the history; the newest waits, because what is measured after it is not known yet."""
        self.waiting += rows if self.trackers else []
        self.send(self.waiting[:-1])
        self.waiting = self.waiting[-1:]

    def note(self, figures: Mapping[str, float | None]) -> None:
        """Take figures of the whole run; those that are not finite are left out."""
        self.figures |= finite(figures)

    def send(self, rows: Rows) -> None:
        """Tell the trackers of rows."""
        for row in self.complete(rows):
            values = finite({name: value for name, value in row.items() if name not in NOT_VALUES})
            self.each(lambda tracker, row=row, values=values: tracker.log(row["step"], values))  # type: ignore[misc]

    def each(self, tell: Callable[[Tracker], None]) -> None:
        """Tell every tracker something, and leave out those that raise."""
        for tracker in list(self.trackers):
            try:
                tell(tracker)
            except Exception as error:  # a service may raise anything, and the run is worth more than its picture
                self.trackers.remove(tracker)
                reason = f"{type(error).__name__}: {error}".split("\n", 1)[0].rstrip(".: ")
                said = f"The tracker {type(tracker).__name__} failed ({reason}); the run goes on without it."
                warnings.warn(said, stacklevel=2)

    def __enter__(self) -> Tracks:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Send what waits and end the run, if it was begun."""
        if self.begun:
            self.send(self.waiting)
            self.each(lambda tracker: tracker.finish(self.figures, failed=kind is not None))
            self.waiting, self.begun = [], False


def finite(values: Mapping[str, Any]) -> dict[str, float]:
    """Return those of the values that are finite numbers.

    Examples:
        >>> finite({"a": 1, "b": None, "c": float("nan"), "d": "text"})
        {'a': 1.0}
    """
    return {name: float(value) for name, value in values.items() if is_finite(value)}


def is_finite(value: Any) -> bool:
    """Return whether a value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def as_tracks(asked: Any) -> Tracks:
    """Return the trackers that a caller names.

    Args:
        asked: None, a name, a mapping of a name and settings, a ``Tracker``, or several of these.

    Raises:
        ConfigError: If there is no such tracker, or it has no such setting.
        MissingExtraError: If what it needs is not installed.

    Examples:
        >>> as_tracks(None).trackers
        []
    """
    if asked is None:
        return Tracks()
    single = isinstance(asked, (str, bytes, Mapping)) or hasattr(asked, "dtype")  # an array is no list of trackers
    several = asked if isinstance(asked, Iterable) and not single else [asked]
    return Tracks([one if isinstance(one, Tracker) else named(one) for one in several])


def named(asked: Any) -> Tracker:
    """Return the tracker that a name, or a mapping with a name in it, stands for."""
    given = {"name": asked} if isinstance(asked, str) else asked
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        expected = "a tracker's name, a mapping with its name and settings, or a Tracker"
        raise ConfigError(expected, type(asked).__name__, "write for example track='tensorboard'")
    return build_tracker(given["name"], {key: value for key, value in given.items() if key != "name"})


@kinds_checked
def build_tracker(name: str, settings: Mapping[str, Any], folder: Path | None = None) -> Tracker:
    """Return a tracker by name.

    Args:
        name: As it is registered.
        settings: Of it.
        folder: Of the run, below which a tracker that writes files does so unless its settings say where.

    Raises:
        ConfigError: If there is no such tracker, or it has no such setting.
        MissingExtraError: If what it needs is not installed.
    """
    kind: type[Tracker] = find("trackers", name)
    known = list(inspect.signature(kind).parameters)
    wrong = [key for key in settings if key not in known]
    if wrong:
        raise ConfigError(f"settings of {name} ({', '.join(known)})", f"'{wrong[0]}'", "use one of them or remove it")
    place = {"folder": folder / name} if folder is not None and "folder" in known else {}
    return kind(**(place | dict(settings)))
