"""Several loggers of one run, none of which can spoil it."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from expunge.errors import ConfigError
from expunge.loggers.logger import Logger, PlainValue
from expunge.registry import find_component
from expunge.type_checks import check_argument_types

HistoryRows = list[dict[str, Any]]
NON_METRIC_KEYS = {"step", "epoch"}


class LoggerGroup:
    """The loggers of one run; a context that ends them, as failed where its body raises.

    A logger that raises is left out from there on, after one warning.

    Args:
        loggers: Those to tell; perhaps none.

    Attributes:
        complete_rows: Adds to rows of the history what was measured after them; set by who knows.
    """

    @check_argument_types
    def __init__(self, loggers: Sequence[Logger] = ()) -> None:
        self.loggers, self.started = list(loggers), False
        self.summary: dict[str, float] = {}
        self.pending: HistoryRows = []
        self.complete_rows: Callable[[HistoryRows], HistoryRows] = list

    def start(self, settings: Mapping[str, Any]) -> None:
        """Begin the run, with those of the settings that are plain values."""
        self.started = True
        plain_settings = {name: value for name, value in settings.items() if isinstance(value, PlainValue)}
        self._broadcast(lambda logger: logger.start(plain_settings))

    def add_rows(self, rows: HistoryRows) -> None:
        """Take new rows of the history; the newest waits, because what is measured after it is not known yet."""
        self.pending += rows if self.loggers else []
        self.log_rows(self.pending[:-1])
        self.pending = self.pending[-1:]

    def log_summary(self, figures: Mapping[str, float | None]) -> None:
        """Take figures of the whole run; those that are not finite are left out."""
        self.summary |= select_finite(figures)

    def log_rows(self, rows: HistoryRows) -> None:
        """Tell the loggers of rows."""
        for row in self.complete_rows(rows):
            values = select_finite({name: value for name, value in row.items() if name not in NON_METRIC_KEYS})
            self._broadcast(lambda logger, row=row, values=values: logger.log(row["step"], values))  # type: ignore[misc]

    def _broadcast(self, action: Callable[[Logger], None]) -> None:
        """Tell every logger something, and leave out those that raise."""
        for logger in list(self.loggers):
            try:
                action(logger)
            except Exception as error:  # a service may raise anything, and the run is worth more than its picture
                self.loggers.remove(logger)
                reason = f"{type(error).__name__}: {error}".split("\n", 1)[0].rstrip(".: ")
                message = f"The logger {type(logger).__name__} failed ({reason}); the run goes on without it."
                warnings.warn(message, stacklevel=2)

    def __enter__(self) -> LoggerGroup:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Send what waits and end the run, if it was begun."""
        if self.started:
            self.log_rows(self.pending)
            self._broadcast(lambda logger: logger.finish(self.summary, failed=kind is not None))
            self.pending, self.started = [], False


def select_finite(values: Mapping[str, Any]) -> dict[str, float]:
    """Return those of the values that are finite numbers.

    Examples:
        >>> select_finite({"a": 1, "b": None, "c": float("nan"), "d": "text"})
        {'a': 1.0}
    """
    return {name: float(value) for name, value in values.items() if is_finite(value)}


def is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def as_logger_group(loggers: Any) -> LoggerGroup:
    """Return the loggers that a caller names.

    Args:
        loggers: None, a name, a mapping of a name and settings, a ``Logger``, or several of these.

    Raises:
        ConfigError: If there is no such logger, or it has no such setting.
        MissingExtraError: If what it needs is not installed.

    Examples:
        >>> as_logger_group(None).loggers
        []
    """
    if loggers is None:
        return LoggerGroup()
    is_single = isinstance(loggers, (str, bytes, Mapping)) or hasattr(
        loggers, "dtype"
    )  # an array is no list of loggers
    items = loggers if isinstance(loggers, Iterable) and not is_single else [loggers]
    return LoggerGroup([one if isinstance(one, Logger) else resolve_logger(one) for one in items])


def resolve_logger(spec: Any) -> Logger:
    """Return the logger that a name, or a mapping with a name in it, stands for."""
    settings = {"name": spec} if isinstance(spec, str) else spec
    if not isinstance(settings, Mapping) or not isinstance(settings.get("name"), str):
        expected = "a logger's name, a mapping with its name and settings, or a Logger"
        raise ConfigError(expected, type(spec).__name__, "write for example track='tensorboard'")
    return build_logger(settings["name"], {key: value for key, value in settings.items() if key != "name"})


@check_argument_types
def build_logger(name: str, settings: Mapping[str, Any], folder: Path | None = None) -> Logger:
    """Return a logger by name.

    Args:
        name: As it is registered.
        settings: Of it.
        folder: Of the run, below which a logger that writes files does so unless its settings say where.

    Raises:
        ConfigError: If there is no such logger, or it has no such setting.
        MissingExtraError: If what it needs is not installed.
    """
    kind: type[Logger] = find_component("loggers", name)
    parameters = list(inspect.signature(kind).parameters)
    unknown = [key for key in settings if key not in parameters]
    if unknown:
        raise ConfigError(
            f"settings of {name} ({', '.join(parameters)})", f"'{unknown[0]}'", "use one of them or remove it"
        )
    folder_setting = {"folder": folder / name} if folder is not None and "folder" in parameters else {}
    return kind(**(folder_setting | dict(settings)))
