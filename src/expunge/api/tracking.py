"""What a run tells the trackers of itself: settings, updates with their readings, and figures; nothing of the data."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from expunge.api.loading import error_location
from expunge.api.model_comparison import serialize_method
from expunge.api.request.request_file import RequestFile
from expunge.api.steering.controller import BudgetController
from expunge.api.steering.evaluation_schedule import merge_evaluations
from expunge.budget import BudgetResult
from expunge.methods import Method
from expunge.trackers import TrackerGroup, as_tracker_group, build_tracker


def open_trackers(trackers: Any) -> AbstractContextManager[TrackerGroup]:
    """Return the trackers that a caller of ``unlearn`` names; those that somebody else opened are not ended here.

    Raises:
        ConfigError: If there is no such tracker, or it has no such setting.
        MissingExtraError: If what it needs is not installed.
    """
    return nullcontext(trackers) if isinstance(trackers, TrackerGroup) else as_tracker_group(trackers)


def build_trackers(config: RequestFile) -> TrackerGroup:
    """Return the trackers that a request file names; those that write files do so in the run folder.

    Raises:
        ExpungeError: If there is no such tracker, with the line of the request file.
    """
    with error_location(config, "track"):
        return TrackerGroup([build_tracker(one.name, one.settings, config.out) for one in config.track])


def log_start(
    tracks: TrackerGroup, method: Method, conditions: Mapping[str, Any], task: str, controller: BudgetController | None
) -> None:
    """Tell the trackers of the run that begins."""
    if controller is not None:
        tracks.complete_rows = lambda rows: merge_evaluations(rows, controller.evaluations)
    settings = {**serialize_method(method), **conditions, "task": task}
    tracks.start({("method" if name == "name" else name): value for name, value in settings.items()})


def log_end(tracks: TrackerGroup, seconds: float, updates: int, spending: BudgetResult | None) -> None:
    """Tell the trackers what unlearning came to."""
    tracks.log_summary({"seconds": seconds, "updates": updates})
    if spending is not None:
        chosen, certificate = spending.evaluations[spending.chosen], spending.certificate
        target = {} if spending.target_met is None else {"reached": float(spending.target_met)}
        tracks.log_summary({"spent": chosen.spent, "kept": float(spending.within_budget), **target})
        if certificate is not None:
            name = "certified_drop" if certificate.exact and not spending.reopened else "approximate_bound"
            tracks.log_summary({name: spending.budget.scale * certificate.bound})


def extract_scores(result: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the scores of the unlearned model from a result document; none of single classes."""
    rows = [row for row in result["requests"][0]["rows"] if row["role"] == "method"]
    return {key: score["mean"] for row in rows for key, score in row["scores"].items()}
