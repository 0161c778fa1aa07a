"""What a run tells the loggers of itself: settings, updates with their readings, and figures; nothing of the data."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from expunge.api.loading import error_location
from expunge.api.model_comparison import serialize_method
from expunge.api.steering.controller import BudgetController
from expunge.api.steering.evaluation_schedule import merge_evaluations
from expunge.budget import BudgetResult
from expunge.loggers import LoggerGroup, as_logger_group, build_logger
from expunge.methods import Method
from expunge.request.request_file import RequestFile


def open_loggers(loggers: Any) -> AbstractContextManager[LoggerGroup]:
    """Return the loggers that a caller of ``unlearn`` names; those that somebody else opened are not ended here."""
    return nullcontext(loggers) if isinstance(loggers, LoggerGroup) else as_logger_group(loggers)


def build_loggers(config: RequestFile) -> LoggerGroup:
    """Return the loggers that a request file names; those that write files do so in the run folder."""
    with error_location(config, "loggers"):
        return LoggerGroup([build_logger(one.name, one.settings, config.out) for one in config.loggers])


def log_start(
    tracks: LoggerGroup, method: Method, conditions: Mapping[str, Any], task: str, controller: BudgetController | None
) -> None:
    """Tell the loggers of the run that begins."""
    if controller is not None:
        tracks.complete_rows = lambda rows: merge_evaluations(rows, controller.evaluations)
    settings = {**serialize_method(method), **conditions, "task": task}
    tracks.start({("method" if name == "name" else name): value for name, value in settings.items()})


def log_end(tracks: LoggerGroup, seconds: float, updates: int, spending: BudgetResult | None) -> None:
    """Tell the loggers what unlearning came to."""
    tracks.log_summary({"seconds": seconds, "updates": updates})
    if spending is not None:
        chosen, certificate = spending.evaluations[spending.chosen], spending.certificate
        target = {} if spending.target_met is None else {"target_met": float(spending.target_met)}
        tracks.log_summary({"spent": chosen.spent, "within_budget": float(spending.within_budget), **target})
        if certificate is not None:
            name = "certified_drop" if certificate.exact and not spending.reopened else "approximate_bound"
            tracks.log_summary({name: spending.budget.scale * certificate.bound})


def extract_scores(result: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the scores of the unlearned model from a result document; none of single classes."""
    rows = [row for row in result["requests"][0]["rows"] if row["role"] == "method"]
    return {key: score["mean"] for row in rows for key, score in row["scores"].items()}
