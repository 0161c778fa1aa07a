"""``expunge report``: show a result again, as a page, as tables for text, paper and spreadsheets, or as figures."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from expunge.cli.echo import echo
from expunge.errors import ConfigError
from expunge.paths import error_reason, read_bytes

MAX_RESULT_BYTES = 256 * 2**20
RESULT_FILE, SAVED_FOLDER = "result.json", ".saved"


class ReportFormat(StrEnum):
    """What a report can be."""

    html = "html"
    md = "md"
    tex = "tex"
    csv = "csv"
    card = "card"
    svg = "svg"
    png = "png"
    pdf = "pdf"


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or its result.json.", show_default=False)],
    form: Annotated[ReportFormat | None, typer.Option("--format", help="  [default: by the ending of --out]")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write this file, or this folder for figures.", show_default=False)
    ] = None,
) -> None:
    """Show the result of a run again.

    Prints its tables; with --out or --format it becomes a page (html), text (md),
    LaTeX tables for booktabs (tex), all figures as comma-separated values (csv), a
    model card for hosting sites (card), or a folder of figures (svg, png, pdf).
    Without --out a text goes to the terminal.
    """
    if (run / SAVED_FOLDER).is_dir():
        from expunge.api.saving import finish_saving

        finish_saving(run)
    document = read_result(run / RESULT_FILE if run.is_dir() else run)
    from expunge.report import render_text, save_report

    if out is not None:
        save_report(document, out, form)
    elif form in (ReportFormat.svg, ReportFormat.png, ReportFormat.pdf):
        raise ConfigError("--out beside --format", f"--format {form} alone", "name a folder for the figures with --out")
    elif form is not None:
        echo(render_text(document, form), nl=False)
    if form is None:
        show_tables(document)


def show_tables(document: dict[str, Any]) -> None:
    """Print the tables of a document."""
    from expunge.report import print_tables
    from expunge.screen import SafeConsole

    print_tables(document, SafeConsole())


def read_result(path: Path) -> dict[str, Any]:
    """Return the document in a result file.

    Raises:
        ConfigError: If the file is missing, too large or no JSON mapping.
    """
    expected, hint = "a result.json that Expunge wrote", "name a run folder, or the result.json in it"
    try:
        content = read_bytes(path, MAX_RESULT_BYTES)
        if len(content) > MAX_RESULT_BYTES:
            raise ConfigError(expected, f"'{path}' of more than 256 MB", hint)
        parsed = json.loads(content)
    except OSError as error:
        raise ConfigError(expected, f"'{path}' ({error_reason(error)})", hint) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(expected, f"'{path}', which is no JSON", hint) from error
    if not isinstance(parsed, dict):
        raise ConfigError(expected, f"'{path}', which holds {type(parsed).__name__}", hint)
    return parsed
