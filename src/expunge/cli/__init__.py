"""The command line: a thin skin over ``expunge.api``; nothing heavy is imported before a command needs it."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from expunge import __version__
from expunge.cli.audit import audit
from expunge.cli.bench import bench
from expunge.cli.compare import compare
from expunge.cli.convert import convert
from expunge.cli.demo import demo
from expunge.cli.estimate_retrain import estimate_retrain
from expunge.cli.images import images
from expunge.cli.ledger import ledger
from expunge.cli.list import show
from expunge.cli.purge import purge
from expunge.cli.report import report
from expunge.cli.run import run
from expunge.cli.train import train
from expunge.cli.ulira import ulira
from expunge.errors import ExpungeError

__all__ = ["app", "main"]

BAD_INPUT = 2
INTERRUPTED = 130


class Commands(TyperGroup):
    """The commands, with our errors and the interrupt key turned into one line on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except ExpungeError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt as stopped:
            typer.echo(str(stopped) or "Interrupted; nothing of yours was changed.", err=True)
            raise typer.Exit(getattr(stopped, "code", INTERRUPTED)) from None


def version(wanted: bool) -> None:
    """Print the version and stop, if it was asked for."""
    if wanted:
        typer.echo(f"expunge {__version__}")
        raise typer.Exit


app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback()
def expunge(
    version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Make a trained model forget chosen training data, keep its use, show the evidence.

    Approximate unlearning: it measures what is left of the data's influence, and certifies nothing.
    """


app.command()(demo)
app.command()(run)
app.command()(train)
app.command()(audit)
app.command()(bench)
app.command()(compare)
app.command()(estimate_retrain)
app.command()(report)
app.command()(images)
app.command()(convert)
app.command()(purge)
app.command()(ulira)
app.add_typer(ledger, name="ledger")
app.command("list")(show)


def main() -> None:
    """Run the command line; a terminal that cannot show a sign gets a question mark instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    app(prog_name="expunge")
