"""How settings, rate and iterate were chosen, in the words of the result document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from expunge.api.result import Result

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
    words = (
        f"The learning rate, {search['rate']:g}, was chosen by a range test and successive halving on control "
        f"examples: {count} short run{'' if count == 1 else 's'} in {search['seconds']:.3g} seconds. Neither the "
        "certify half, nor test data, nor a retrained model was looked at."
    )
    if "retain" not in search:
        return words
    return f"{words} For lack of time the run itself used {search['retain']} retained examples."
