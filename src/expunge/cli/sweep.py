"""``expunge sweep``: vary one setting of every method, and show the front of forgetting against utility."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expunge.cli.benchmark import CELLS_FOLDER, NETWORKS_NAME, CellsDir, Jobs, NetworksDir, RetryFailed, Threads
from expunge.cli.run import DataDir

if TYPE_CHECKING:
    from rich.console import Console

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="The recipe.", show_default=False)]


def sweep(
    recipe: RecipePath,
    param: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[ROW:]NAME=V1,V2", help="Sweep this setting, of all rows or one.  [default: each its own]"
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Write the result into this folder.")] = Path("runs/sweep"),
    data_dir: DataDir = None,
    networks_dir: NetworksDir = None,
    cells_dir: CellsDir = CELLS_FOLDER,
    jobs: Jobs = 1,
    threads: Threads = 1,
    retry_failed: RetryFailed = False,
) -> None:
    """Trade forgetting against utility, method by method.

    Every method runs at as many values of one setting. Writes the points, the front
    and its hypervolume as JSON, tables in Markdown and figures.
    """
    from expunge.benchmark.recipe import load_recipe

    loaded = load_recipe(recipe)

    from expunge.api.documents import anonymize_path
    from expunge.api.folder import check_writable
    from expunge.benchmark.store import BenchmarkFolders, check_result_file
    from expunge.benchmark.sweep import run_sweep
    from expunge.benchmark.sweep_grids import parse_params
    from expunge.screen import SafeConsole

    console, sweeps = SafeConsole(), parse_params(param or [])
    check_writable(out, "folder of the result", "name another with --out")
    check_result_file(out / f"{recipe.stem}.json")
    command = " ".join(["expunge sweep", anonymize_path(recipe), *(f"--param {text}" for text in param or [])])
    folders = BenchmarkFolders(cells_dir, networks_dir or cells_dir / NETWORKS_NAME, data_dir)
    comparison = run_sweep(
        loaded,
        folders,
        sweeps,
        jobs=jobs,
        threads=threads,
        retry_failed=retry_failed,
        command=command,
        console=console,
    )
    write_comparison(comparison, out, recipe.stem, console)


def write_comparison(comparison: dict[str, Any], folder: Path, name: str, console: Console) -> None:
    """Write a comparison's result, tables and figures, and show the tables."""
    from expunge.benchmark.store import write_json, write_text
    from expunge.errors import escape_controls
    from expunge.report import pareto_figure, pareto_table

    folder.mkdir(parents=True, exist_ok=True)
    tables = [f"**{part['description']}**\n\n{pareto_table(part)}" for part in comparison["requests"]]
    write_json(folder / f"{name}.json", comparison)
    write_text(folder / f"{name}.md", escape_controls("\n\n".join(tables) + "\n"))
    for part in comparison["requests"]:
        for utility in ("ra", "ta"):
            write_text(folder / f"{name}-{part['id']}-{utility}.svg", pareto_figure(part, utility))
    for table in tables:
        console.print(table, soft_wrap=True, markup=False)
    console.print(f"Result: {folder / name}.json", soft_wrap=True, markup=False)
