"""How long ``auto`` may take, in seconds or in words, read before anything heavy is imported."""

from __future__ import annotations

import math
import re

from expunge.errors import ConfigError

DEFAULT_TIME_LIMIT = "10min"
"""Time for everything, by default."""
SECONDS_PER_UNIT = {"s": 1.0, "min": 60.0, "h": 3600.0}


def parse_time_limit(time_limit: str | float) -> float:
    """Return a time limit in seconds.

    Examples:
        >>> parse_time_limit("10min"), parse_time_limit(90)
        (600.0, 90.0)
    """
    match = re.fullmatch(r"([0-9.]+) ?(s|min|h)", str(time_limit)) or re.fullmatch(r"([0-9.]+)()", str(time_limit))
    try:
        seconds = float(match[1]) * SECONDS_PER_UNIT.get(match[2], 1.0) if match else 0.0
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise ConfigError(
            "a time limit such as '10min'", f"{time_limit!r}", "write seconds, or a number with s, min or h"
        )
    return seconds
