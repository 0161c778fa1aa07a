"""``expunge benchmark``: compare methods as recipes describe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli.run import DataDir

if TYPE_CHECKING:
    from rich.console import Console

    from expunge.benchmark.recipe import BenchmarkRecipe
    from expunge.benchmark.run import BenchmarkState
    from expunge.benchmark.store import BenchmarkFolders

RecipePaths = Annotated[list[Path], typer.Argument(metavar="RECIPE.yaml...", help="The recipes.", show_default=False)]
CELLS_FOLDER, NETWORKS_NAME = Path("runs/benchmark"), "networks"
NetworksDir = Annotated[
    Path | None, typer.Option(help="Keep the networks that cells share here.  [default: CELLS-DIR/networks]")
]
CellsDir = Annotated[Path, typer.Option(help="Keep the cells here.")]
Jobs = Annotated[int, typer.Option(min=1, help="Run this many processes.")]
Threads = Annotated[int, typer.Option(min=1, max=4096, help="Use this many processor threads in each process.")]
Force = Annotated[bool, typer.Option("--force", help="Run cells again that are finished.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Run cells again that failed.")]


def benchmark(
    recipes: RecipePaths,
    data_dir: DataDir = None,
    networks_dir: NetworksDir = None,
    cells_dir: CellsDir = CELLS_FOLDER,
    jobs: Jobs = 1,
    threads: Threads = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List finished and missing cells; run nothing.")] = False,
    retry_failed: RetryFailed = False,
    force: Force = False,
    summary: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Write the result of the finished cells; run nothing."),
    ] = None,
) -> None:
    """Compare methods as recipes say, cell by cell.

    A cell is one model: a request, a seed, a method. It is made once; a run that was
    stopped goes on where it was. Original and retrained networks are shared by all.
    A change of the code that decides it, yours included, makes it another cell.
    """
    from expunge.benchmark.recipe import load_recipe
    from expunge.errors import ConfigError

    loaded = [load_recipe(path) for path in recipes]
    if summary is not None and len(loaded) > 1:
        raise ConfigError("one recipe for --summary", f"{len(loaded)}", "write one file for each")

    from expunge.api.documents import anonymize_path
    from expunge.benchmark.run import get_benchmark_state, run_benchmark
    from expunge.benchmark.store import BenchmarkFolders
    from expunge.screen import SafeConsole

    folders, console = BenchmarkFolders(cells_dir, networks_dir or cells_dir / NETWORKS_NAME, data_dir), SafeConsole()
    if summary is not None:
        write_summary(loaded[0], folders, summary, f"expunge benchmark {anonymize_path(recipes[0])}", console)
        return
    failed = 0
    for recipe in loaded:
        if dry_run:
            print_status(recipe, get_benchmark_state(recipe, folders), folders, console)
            continue
        again = {"retry_failed": retry_failed, "force": force}
        state = run_benchmark(recipe, folders, jobs=jobs, threads=threads, **again, console=console)
        print_status(recipe, state, folders, console)
        failed += len(state.failed)
    if failed:
        raise typer.Exit(1)


def write_summary(
    recipe: BenchmarkRecipe, folders: BenchmarkFolders, target: Path, command: str, console: Console
) -> None:
    """Write the result document of a recipe, and show its tables."""
    from expunge.benchmark.store import check_result_file, write_json
    from expunge.benchmark.summary import summarize_benchmark
    from expunge.report import print_tables

    check_result_file(target)
    result = summarize_benchmark(recipe, folders, command)
    write_json(target, result)
    print_tables(result, console)
    for part in result["requests"]:
        for cell in part["incomplete"]:
            line = f"{part['id']} {cell['row']} seed {cell['seed']}: {cell['what']}, {cell['sentence']}"
            console.print(line, soft_wrap=True, markup=False)
    console.print(f"Summary: {target}", soft_wrap=True, markup=False)


def print_status(recipe: BenchmarkRecipe, state: BenchmarkState, folders: BenchmarkFolders, console: Console) -> None:
    """Show what is there of a recipe, what failed and why, and what is missing."""
    lines = [f"missing {item.description} {item.key}" for item in state.missing]
    lines += [f"failed  {item.description} {item.key}: {failure_message(folders.load(item))}" for item in state.failed]
    waiting = f", {state.undecided} more once their tuning is done" if state.undecided else ""
    counts = f"{len(state.finished)} made, {len(state.failed)} failed, {len(state.missing)} missing{waiting}"
    for line in [*lines, f"{recipe.title}: {counts}"]:
        console.print(line, soft_wrap=True, markup=False)


def failure_message(facts: dict[str, dict[str, str]] | None) -> str:
    """Return why an item could not be made."""
    return (facts or {}).get("failure", {}).get("sentence", "")
