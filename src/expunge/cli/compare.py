"""``expunge compare``: sweep every method's knob, and show the front of forgetting against utility."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expunge.cli.bench import CELLS, NETWORKS, Cache, Jobs, Out, RetryFailed, Threads
from expunge.cli.run import DataDir

if TYPE_CHECKING:
    from rich.console import Console

Recipe = Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="The recipe.", show_default=False)]


def compare(
    recipe: Recipe,
    knob: Annotated[
        list[str] | None,
        typer.Option(metavar="[ROW:]NAME=V1,V2", help="Sweep this, for all or one row.  [default: each its own]"),
    ] = None,
    result: Annotated[Path, typer.Option(help="Folder of the result.")] = Path("runs/compare"),
    data_dir: DataDir = None,
    cache: Cache = None,
    out: Out = CELLS,
    jobs: Jobs = 1,
    threads: Threads = 1,
    retry_failed: RetryFailed = False,
) -> None:
    """Trade forgetting against utility, method by method.

    Every method runs at as many values of its own knob. Writes the points, the front
    and its hypervolume as JSON, tables in Markdown and figures.
    """
    from expunge.benchmark.recipe import load_recipe

    loaded = load_recipe(recipe)

    from expunge.api.documents import shown_path
    from expunge.api.folder import check_writable
    from expunge.benchmark.comparing import compare as compared
    from expunge.benchmark.knobs import read_knobs
    from expunge.benchmark.store import Folders, check_result_file
    from expunge.screen import Screen

    console, asked = Screen(), read_knobs(knob or [])
    check_writable(result, "folder of the result", "name another with --result")
    check_result_file(result / f"{recipe.stem}.json")
    command = " ".join(["expunge compare", shown_path(recipe), *(f"--knob {text}" for text in knob or [])])
    folders = Folders(out, cache or out / NETWORKS, data_dir)
    found = compared(
        loaded,
        folders,
        asked,
        jobs=jobs,
        threads=threads,
        retry_failed=retry_failed,
        command=command,
        console=console,
    )
    write_all(found, result, recipe.stem, console)


def write_all(found: dict[str, Any], folder: Path, name: str, console: Console) -> None:
    """Write a comparison's result, tables and figures, and show the tables."""
    from expunge.benchmark.store import write_json, write_text
    from expunge.errors import printable
    from expunge.report import front_figure, fronts_table

    folder.mkdir(parents=True, exist_ok=True)
    tables = [f"**{part['question']}**\n\n{fronts_table(part)}" for part in found["requests"]]
    write_json(folder / f"{name}.json", found)
    write_text(folder / f"{name}.md", printable("\n\n".join(tables) + "\n"))
    for part in found["requests"]:
        for utility in ("ra", "ta"):
            write_text(folder / f"{name}-{part['id']}-{utility}.svg", front_figure(part, utility))
    for table in tables:
        console.print(table, soft_wrap=True, markup=False)
    console.print(f"Result: {folder / name}.json", soft_wrap=True, markup=False)
