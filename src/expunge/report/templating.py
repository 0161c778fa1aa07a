"""The templates of this package, and what of them goes into a page as it stands."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from expunge.formatting import format_count
from expunge.report.numbers import add_nbsp


@cache
def get_environment() -> Environment:
    """Return the environment of the templates: everything is escaped, and what is missing is an error."""
    environment = Environment(
        loader=PackageLoader("expunge.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=format_count, tie=add_nbsp, code=render_code, moment=format_time)
    return environment


CODE_PATTERN = "`[^`]+`"
"""What stands between backticks."""


def render_code(text: str) -> Markup:
    """Return text as HTML, with what stands between backticks as code.

    Examples:
        >>> print(render_code("`expunge purge` removes <that>"))
        <code>expunge purge</code> removes &lt;that&gt;
    """
    return Markup(re.sub(CODE_PATTERN, lambda match: f"<code>{match[0][1:-1]}</code>", str(escape(text))))


def format_time(text: str) -> str:
    """Return a time to the minute, in UTC; what is no time as it is.

    Examples:
        >>> format_time("2025-01-02T03:04:05+01:00"), format_time("yesterday")
        ('2025-01-02 02:04 UTC', 'yesterday')
    """
    try:
        return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError):
        return text


def read_source(name: str) -> Markup:
    """Return a file among the templates as it is; never anything from a document."""
    loader = get_environment().loader
    return Markup("" if loader is None else loader.get_source(get_environment(), name)[0])


@cache
def read_palette() -> dict[str, str]:
    """Return the colors of the light theme by the names of their variables.

    Examples:
        >>> read_palette()["paper"]
        '#fdfdfb'
    """
    style = read_source("report.css")
    return dict(re.findall(r"--(\w+): (#\w{6});", style[: style.index("}")]))
