"""Lines of the commands: to stdout or stderr, without what a terminal would obey in words of others."""

from __future__ import annotations

import typer

from expunge.errors import escape_controls


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print text as ``printable`` has it.

    Args:
        text: Which.
        err: To stderr. Default false: to stdout.
        nl: End the line. Default true.
    """
    typer.echo(escape_controls(text), err=err, nl=nl)
