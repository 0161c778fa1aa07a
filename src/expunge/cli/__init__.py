"""The command line: a thin skin over ``expunge.api``; nothing heavy is imported before a command needs it."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from expunge import __version__
from expunge.cli.audit import audit
from expunge.cli.benchmark import benchmark
from expunge.cli.commands import CommandGroup, flush_stdout, validate_paths
from expunge.cli.convert import convert
from expunge.cli.demo import demo
from expunge.cli.echo import echo
from expunge.cli.estimate_retrain import estimate_retrain
from expunge.cli.ledger import ledger
from expunge.cli.list import list_components
from expunge.cli.purge import purge
from expunge.cli.report import report
from expunge.cli.run import run
from expunge.cli.sample import sample
from expunge.cli.sweep import sweep
from expunge.cli.train import train
from expunge.cli.ulira import ulira

__all__ = ["app", "main"]


def version(wanted: bool) -> None:
    """Print the version and stop, if it was asked for."""
    if wanted:
        echo(f"expunge {__version__}")
        raise typer.Exit


app = typer.Typer(cls=CommandGroup, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback()
def expunge(
    version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Make a trained model forget chosen training data, keep its use, show the evidence.

    Approximate unlearning: it measures what is left of the data's influence, and certifies nothing.
    """


for command in (demo, run, train, audit, benchmark, sweep, estimate_retrain, report, sample, convert, purge, ulira):
    app.command()(validate_paths(command))
app.add_typer(ledger, name="ledger")
app.command("list")(list_components)


def main() -> None:
    """Run the command line; a terminal that cannot show a sign gets a question mark instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app(prog_name="expunge")
    except SystemExit as stop:
        sys.exit(flush_stdout() or stop.code)
