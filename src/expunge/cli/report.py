"""``expunge report``: show a result again, as a page, a table in the terminal, or a table in Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from expunge.errors import ConfigError

LARGEST = 256 * 2**20


def report(
    result: Annotated[Path, typer.Argument(metavar="RESULT.json", help="A run's result.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Write the page here.", show_default=False)] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables in Markdown.")] = False,
) -> None:
    """Show the result of a run again.

    Prints its tables, and writes the report's page where --out says.
    """
    document = read(result)
    from rich.console import Console

    from expunge.report import markdown_table, print_tables, read_document, write_report

    read_document(document)
    if out is not None:
        write_report(document, out)
    if markdown:
        for request in document["requests"]:
            typer.echo(f"**{request['question']}**\n\n{markdown_table(request)}\n")
    else:
        print_tables(document, Console(highlight=False))


def read(path: Path) -> dict[str, Any]:
    """Return the document in a result file.

    Raises:
        ConfigError: If the file is missing, too large or no JSON mapping.
    """
    expected, cure = "a result.json that Expunge wrote", "name the result.json of a run folder"
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(expected, f"'{path}' of more than 256 MB", cure)
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(expected, f"'{path}' ({(error.strerror or 'unreadable').lower()})", cure) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(expected, f"'{path}', which is no JSON", cure) from error
    if not isinstance(found, dict):
        raise ConfigError(expected, f"'{path}', which holds {type(found).__name__}", cure)
    return found
