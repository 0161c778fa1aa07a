"""How settings, rate and iterate were chosen, in the words of the result document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from expunge.api.result import Result
from expunge.formatting import format_number, format_percent

CALLERS = "The settings are those that the caller chose."
REQUESTED = "The settings are those of the request file; nothing was tuned by this run."
COMPLETED = "The settings are those of the request file and, for what it leaves out, those of auto."
UNTUNED = "Nothing was tuned by this run."
CHOSEN = "The iterate was chosen by readings of the control half of the held-out examples."


def request_disclosure(automatic: bool, result: Result) -> str:
    """Return how the settings of a request and the iterate were chosen.

    Args:
        automatic: Whether ``auto`` chose the method.
        result: What came of it.
    """
    if not automatic:
        return told(REQUESTED, result)
    return told(COMPLETED if result.search is not None else f"{COMPLETED} {UNTUNED}", result)


def callers_disclosure(result: Result | None) -> str:
    """Return how the settings of a caller and the iterate were chosen."""
    return CALLERS if result is None else told(CALLERS, result)


def told(settings: str, result: Result) -> str:
    """Return the sentence on settings with what the run chose itself."""
    search = [] if result.search is None else [search_words(result.search)]
    return " ".join([settings, *search, *([] if result.budget is None else [CHOSEN])])


def search_words(search: Mapping[str, Any]) -> str:
    """Return how ``auto`` chose the learning rate, and by what it did not.

    Examples:
        >>> search_words({"rounds": [{"share": 0.03, "trials": [{}]}], "rate": 0.01, "seconds": 2.0})[:90]
        'The learning rate, 0.01, was chosen by a range test and successive halving on control exam'
    """
    count = sum(len(part["trials"]) for part in search["rounds"])
    ranged = search.get("examples")
    how = "a range test and successive halving on control" if ranged is None else f"a range test on {ranged}"
    words = (
        f"The learning rate, {search['rate']:g}, was chosen by {how} examples: {count} short "
        f"run{'' if count == 1 else 's'} in {format_number(search['seconds'])} seconds. Neither "
        f"{'the certify half, nor ' if ranged is None else ''}test data, nor a retrained model was looked at."
    )
    if "retain" not in search:
        return f"{words}{end_words(search)}"
    reason = "For lack of time the" if ranged is None else "The"
    return f"{words} {reason} run itself used {search['retain']:,} retained examples.{end_words(search)}"


def end_words(search: Mapping[str, Any]) -> str:
    """Return when a run ended that watched what the model recognises; empty where it did not.

    Examples:
        >>> end_words({"recognised": [{"step": 20, "share": 0.5}, {"step": 40, "share": 0.125}]})
        ' By its own error the model recognised 12.5 % of the forgotten examples after update 40, the last look.'
    """
    looks = search.get("recognised")
    if not looks:
        return ""
    share, step = looks[-1]["share"], looks[-1]["step"]
    known = f" By its own error the model recognised {format_percent(share)} of the forgotten examples"
    return f"{known} after update {step:,}, the last look."
