"""What a search has found, without what a clock says of it."""

from __future__ import annotations

from typing import Any

CLOCK = ("seconds", "pace", "reading")


def timeless(record: dict[str, Any]) -> tuple[list[list[dict[str, Any]]], float]:
    """Return the trials of a search and the rate that it came to."""
    trials = [[{**trial, **dict.fromkeys(CLOCK, 0)} for trial in part["trials"]] for part in record["rounds"]]
    return trials, record["lr"]
