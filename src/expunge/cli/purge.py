"""``expunge purge``: remove from a run folder what still holds the deleted data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.echo import echo


def purge(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.", show_default=False)],
    ledger: Annotated[
        Path | None, typer.Option(help="Record the purge in this ledger, which has the run.", show_default=False)
    ] = None,
) -> None:
    """Remove what still holds the deleted data from a run.

    That is the original's weights, if they are in the folder, and pictures. Then
    it says what it does not reach.
    """
    from expunge.api.purge import purge as remove

    done = remove(run, ledger)
    echo(f"Removed: {', '.join(done.removed) or 'nothing, there was nothing left to remove'}")
    echo("What still holds the data, and is out of reach from here:")
    for line in done.remaining:
        echo(f"- {line}")
    if done.entry is not None:
        echo(f"Ledger: entry {done.entry.number}, head {done.entry.hash}")
