"""Several trackers of one run, none of which can spoil it."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from expunge.errors import ConfigError
from expunge.registry import find_component
from expunge.trackers.tracker import PlainValue, Tracker
from expunge.type_checks import check_argument_types

HistoryRows = list[dict[str, Any]]
NON_METRIC_KEYS = {"step", "epoch"}


class TrackerGroup:
    """The trackers of one run; a context that ends them, as failed where its body raises.

    A tracker that raises is left out from there on, after one warning.

    Args:
        trackers: Those to tell; perhaps none.

    Attributes:
        complete_rows: Adds to rows of the history what was measured after them; set by who knows.
    """

    @check_argument_types
    def __init__(self, trackers: Sequence[Tracker] = ()) -> None:
        self.trackers, self.started = list(trackers), False
        self.summary: dict[str, float] = {}
        self.pending: HistoryRows = []
        self.complete_rows: Callable[[HistoryRows], HistoryRows] = list

    def start(self, settings: Mapping[str, Any]) -> None:
        """Begin the run, with those of the settings that are plain values."""
        self.started = True
        plain_settings = {name: value for name, value in settings.items() if isinstance(value, PlainValue)}
        self._broadcast(lambda tracker: tracker.start(plain_settings))

    def add_rows(self, rows: HistoryRows) -> None:
        """Take new rows of the history; the newest waits, because what is measured after it is not known yet."""
        self.pending += rows if self.trackers else []
        self.log_rows(self.pending[:-1])
        self.pending = self.pending[-1:]

    def log_summary(self, figures: Mapping[str, float | None]) -> None:
        """Take figures of the whole run; those that are not finite are left out."""
        self.summary |= select_finite(figures)

    def log_rows(self, rows: HistoryRows) -> None:
        """Tell the trackers of rows."""
        for row in self.complete_rows(rows):
            values = select_finite({name: value for name, value in row.items() if name not in NON_METRIC_KEYS})
            self._broadcast(lambda tracker, row=row, values=values: tracker.log(row["step"], values))  # type: ignore[misc]

    def _broadcast(self, action: Callable[[Tracker], None]) -> None:
        """Tell every tracker something, and leave out those that raise."""
        for tracker in list(self.trackers):
            try:
                action(tracker)
            except Exception as error:  # a service may raise anything, and the run is worth more than its picture
                self.trackers.remove(tracker)
                reason = f"{type(error).__name__}: {error}".split("\n", 1)[0].rstrip(".: ")
                message = f"The tracker {type(tracker).__name__} failed ({reason}); the run goes on without it."
                warnings.warn(message, stacklevel=2)

    def __enter__(self) -> TrackerGroup:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Send what waits and end the run, if it was begun."""
        if self.started:
            self.log_rows(self.pending)
            self._broadcast(lambda tracker: tracker.finish(self.summary, failed=kind is not None))
            self.pending, self.started = [], False


def select_finite(values: Mapping[str, Any]) -> dict[str, float]:
    """Return those of the values that are finite numbers.

    Examples:
        >>> select_finite({"a": 1, "b": None, "c": float("nan"), "d": "text"})
        {'a': 1.0}
    """
    return {name: float(value) for name, value in values.items() if is_finite(value)}


def is_finite(value: Any) -> bool:
    """Return whether a value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def as_tracker_group(trackers: Any) -> TrackerGroup:
    """Return the trackers that a caller names.

    Args:
        trackers: None, a name, a mapping of a name and settings, a ``Tracker``, or several of these.

    Raises:
        ConfigError: If there is no such tracker, or it has no such setting.
        MissingExtraError: If what it needs is not installed.

    Examples:
        >>> as_tracker_group(None).trackers
        []
    """
    if trackers is None:
        return TrackerGroup()
    is_single = isinstance(trackers, (str, bytes, Mapping)) or hasattr(
        trackers, "dtype"
    )  # an array is no list of trackers
    items = trackers if isinstance(trackers, Iterable) and not is_single else [trackers]
    return TrackerGroup([one if isinstance(one, Tracker) else resolve_tracker(one) for one in items])


def resolve_tracker(spec: Any) -> Tracker:
    """Return the tracker that a name, or a mapping with a name in it, stands for."""
    settings = {"name": spec} if isinstance(spec, str) else spec
    if not isinstance(settings, Mapping) or not isinstance(settings.get("name"), str):
        expected = "a tracker's name, a mapping with its name and settings, or a Tracker"
        raise ConfigError(expected, type(spec).__name__, "write for example track='tensorboard'")
    return build_tracker(settings["name"], {key: value for key, value in settings.items() if key != "name"})


@check_argument_types
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
    kind: type[Tracker] = find_component("trackers", name)
    parameters = list(inspect.signature(kind).parameters)
    unknown = [key for key in settings if key not in parameters]
    if unknown:
        raise ConfigError(
            f"settings of {name} ({', '.join(parameters)})", f"'{unknown[0]}'", "use one of them or remove it"
        )
    folder_setting = {"folder": folder / name} if folder is not None and "folder" in parameters else {}
    return kind(**(folder_setting | dict(settings)))
