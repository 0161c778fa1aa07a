"""``expunge report``: show a result again, as a page, as tables for text, paper and spreadsheets, or as figures."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from expunge.cli.echo import echo
from expunge.errors import ConfigError
from expunge.paths import read_bytes, reason_of

LARGEST = 256 * 2**20
RESULT, SAVED = "result.json", ".saved"


class Form(StrEnum):
    """What a report can be."""

    html = "html"
    md = "md"
    tex = "tex"
    csv = "csv"
    card = "card"
    svg = "svg"
    png = "png"


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or its result.json.", show_default=False)],
    form: Annotated[Form | None, typer.Option("--format", help="  [default: by the ending of --out]")] = None,
    out: Annotated[Path | None, typer.Option(help="The file, or the folder for figures.", show_default=False)] = None,
) -> None:
    """Show the result of a run again.

    Prints its tables; with --out or --format it becomes a page (html), text (md),
    LaTeX tables for booktabs (tex), all figures as comma-separated values (csv), a
    model card for hosting sites (card), or a folder of drawings (svg, png).
    Without --out a text goes to the terminal.
    """
    if (run / SAVED).is_dir():
        from expunge.api.saving import finish_saving

        finish_saving(run)
    document = read(run / RESULT if run.is_dir() else run)
    from expunge.report import save_report, text_of

    if out is not None:
        save_report(document, out, form)
    elif form in (Form.svg, Form.png):
        raise ConfigError("--out beside --format", f"--format {form} alone", "name a folder for the figures with --out")
    elif form is not None:
        echo(text_of(document, form), nl=False)
    if form is None:
        show_tables(document)


def show_tables(document: dict[str, Any]) -> None:
    """Print the tables of a document."""
    from expunge.report import print_tables
    from expunge.screen import Screen

    print_tables(document, Screen())


def read(path: Path) -> dict[str, Any]:
    """Return the document in a result file.

    Raises:
        ConfigError: If the file is missing, too large or no JSON mapping.
    """
    expected, cure = "a result.json that Expunge wrote", "name a run folder, or the result.json in it"
    try:
        content = read_bytes(path, LARGEST)
        if len(content) > LARGEST:
            raise ConfigError(expected, f"'{path}' of more than 256 MB", cure)
        found = json.loads(content)
    except OSError as error:
        raise ConfigError(expected, f"'{path}' ({reason_of(error)})", cure) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(expected, f"'{path}', which is no JSON", cure) from error
    if not isinstance(found, dict):
        raise ConfigError(expected, f"'{path}', which holds {type(found).__name__}", cure)
    return found
