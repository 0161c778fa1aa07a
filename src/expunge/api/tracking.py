"""What a run tells the trackers of itself: settings, updates with their readings, and figures; nothing of the data."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from expunge.api.reading import located
from expunge.api.request.request_file import RequestFile
from expunge.api.rows import settings_of
from expunge.api.steering.looks import with_readings
from expunge.api.steering.within import Keeper
from expunge.budget import Spending
from expunge.methods import Method
from expunge.trackers import Tracks, as_tracks, build_tracker


def followed(asked: Any) -> AbstractContextManager[Tracks]:
    """Return the trackers that a caller of ``unlearn`` names; those that somebody else opened are not ended here.

    Raises:
        ConfigError: If there is no such tracker, or it has no such setting.
        MissingExtraError: If what it needs is not installed.
    """
    return nullcontext(asked) if isinstance(asked, Tracks) else as_tracks(asked)


def tracks_of(config: RequestFile) -> Tracks:
    """Return the trackers that a request file names; those that write files do so in the run folder.

    Raises:
        ExpungeError: If there is no such tracker, with the line of the request file.
    """
    with located(config, "track"):
        return Tracks([build_tracker(one.name, one.settings, config.out) for one in config.track])


def begin(tracks: Tracks, method: Method, conditions: Mapping[str, Any], task: str, keeper: Keeper | None) -> None:
    """Tell the trackers of the run that begins."""
    if keeper is not None:
        tracks.complete = lambda rows: with_readings(rows, keeper.looks)
    told = {**settings_of(method), **conditions, "task": task}
    tracks.start({("method" if name == "name" else name): value for name, value in told.items()})


def end(tracks: Tracks, seconds: float, updates: int, spending: Spending | None) -> None:
    """Tell the trackers what unlearning came to."""
    tracks.note({"seconds": seconds, "updates": updates})
    if spending is not None:
        chosen, found = spending.looks[spending.chosen], spending.certificate
        known = {} if spending.reached is None else {"reached": float(spending.reached)}
        tracks.note({"spent": chosen.spent, "kept": float(spending.kept), **known})
        if found is not None:
            name = "certified_drop" if found.exact and not spending.reopened else "approximate_bound"
            tracks.note({name: spending.asked.scale * found.bound})


def figures_of(result: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the scores of the unlearned model from a result document; none of single classes."""
    rows = [row for row in result["requests"][0]["rows"] if row["role"] == "method"]
    return {key: score["mean"] for row in rows for key, score in row["scores"].items()}
