"""How settings, rate and iterate were chosen, in the words of the result document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from expunge.api.result import Result
from expunge.formatting import format_number, format_percent

CALLER_SETTINGS = "The settings are those that the caller chose."
REQUEST_SETTINGS = "The settings are those of the request file; nothing was tuned by this run."
AUTO_SETTINGS = "The settings are those of the request file and, for what it leaves out, those of auto."
NOT_TUNED = "Nothing was tuned by this run."
ITERATE_SELECTION = "The iterate was chosen by readings of the control half of the held-out examples."


def describe_request_settings(automatic: bool, result: Result) -> str:
    """Return how the settings of a request and the iterate were chosen."""
    if not automatic:
        return describe_settings(REQUEST_SETTINGS, result)
    return describe_settings(
        AUTO_SETTINGS if result.search_history is not None else f"{AUTO_SETTINGS} {NOT_TUNED}", result
    )


def describe_call_settings(result: Result | None) -> str:
    """Return how the settings of a caller and the iterate were chosen."""
    return CALLER_SETTINGS if result is None else describe_settings(CALLER_SETTINGS, result)


def describe_settings(settings: str, result: Result) -> str:
    """Return the sentence on settings with what the run chose itself."""
    search = [] if result.search_history is None else [describe_search(result.search_history)]
    return " ".join([settings, *search, *([] if result.budget is None else [ITERATE_SELECTION])])


def describe_search(search: Mapping[str, Any]) -> str:
    """Return how ``auto`` chose the learning rate, and by what it did not.

    Examples:
        >>> describe_search({"rounds": [{"fraction": 0.03, "trials": [{}]}], "lr": 0.01, "seconds": 2.0})[:90]
        'The learning rate, 0.01, was chosen by a range test and successive halving on control exam'
    """
    count = sum(len(part["trials"]) for part in search["rounds"])
    ranged = search.get("examples")
    how = "a range test and successive halving on control" if ranged is None else f"a range test on {ranged}"
    words = (
        f"The learning rate, {search['lr']:g}, was chosen by {how} examples: {count} short "
        f"run{'' if count == 1 else 's'} in {format_number(search['seconds'])} seconds. Neither "
        f"{'the certify half, nor ' if ranged is None else ''}test data, nor a retrained model was looked at."
    )
    if "retain" not in search:
        return f"{words}{describe_stop(search)}"
    reason = "For lack of time the" if ranged is None else "The"
    return f"{words} {reason} run itself used {search['retain']:,} retained examples.{describe_stop(search)}"


def describe_stop(search: Mapping[str, Any]) -> str:
    """Return when a run ended that watched what the model recognizes; empty where it did not.

    Examples:
        >>> describe_stop({"recognized": [{"step": 20, "fraction": 0.5}, {"step": 40, "fraction": 0.125}]})
        ' By its own error the model recognized 12.5 % of the forgotten examples after update 40, the last look.'
    """
    evaluations = search.get("recognized")
    if not evaluations:
        return ""
    fraction, step = evaluations[-1]["fraction"], evaluations[-1]["step"]
    sentence = f" By its own error the model recognized {format_percent(fraction)} of the forgotten examples"
    return f"{sentence} after update {step:,}, the last look."
