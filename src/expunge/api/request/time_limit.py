"""How long ``auto`` may take, in seconds or in words, read before anything heavy is imported."""

from __future__ import annotations

import math
import re

from expunge.errors import ConfigError

WITHIN = "10min"
"""Time for everything, by default."""
UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def seconds_of(within: str | float) -> float:
    """Return a time limit in seconds.

    Args:
        within: Seconds, or text such as ``90s``, ``10min`` or ``2h``.

    Raises:
        ConfigError: If it is neither.

    Examples:
        >>> seconds_of("10min"), seconds_of(90)
        (600.0, 90.0)
    """
    read = re.fullmatch(r"([0-9.]+) ?(s|min|h)", str(within)) or re.fullmatch(r"([0-9.]+)()", str(within))
    try:
        found = float(read[1]) * UNITS.get(read[2], 1.0) if read else 0.0
    except ValueError:
        found = 0.0
    if not 0 < found < math.inf:
        raise ConfigError("a time limit such as '10min'", f"{within!r}", "write seconds, or a number with s, min or h")
    return found
