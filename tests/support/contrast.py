"""How well one color stands out from another, as WCAG 2 defines it."""

from __future__ import annotations

import re


def channels(color):
    """Return red, green and blue from 0 to 255, of ``#rrggbb`` or ``rgb(…)``."""
    if color.startswith("#"):
        return [int(color[place : place + 2], 16) for place in (1, 3, 5)]
    found = re.fullmatch(r"rgb\((\d+), (\d+), (\d+)\)", color)
    assert found, f"'{color}' is not opaque"
    return list(map(int, found.groups()))


def luminance(color):
    shares = [channel / 255 for channel in channels(color)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, two):
    """Return the contrast ratio, from 1 to 21."""
    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)
