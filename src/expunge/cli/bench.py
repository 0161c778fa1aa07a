"""``expunge bench``: carry out comparisons that recipes describe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli.run import DataDir

if TYPE_CHECKING:
    from rich.console import Console

    from expunge.benchmark.recipe import Recipe
    from expunge.benchmark.run import State
    from expunge.benchmark.store import Folders

Recipes = Annotated[list[Path], typer.Argument(metavar="RECIPE.yaml...", help="The recipes.", show_default=False)]
CELLS, NETWORKS = Path("runs/bench"), "networks"
Cache = Annotated[Path | None, typer.Option(help="Folder of the networks that cells share.  [default: OUT/networks]")]
Out = Annotated[Path, typer.Option(help="Folder of the cells.")]
Jobs = Annotated[int, typer.Option(min=1, help="Processes.")]
Threads = Annotated[int, typer.Option(min=1, max=4096, help="Processor threads of each process.")]
Force = Annotated[bool, typer.Option("--force", help="Make again what is there.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Make again what failed before.")]


def bench(
    recipes: Recipes,
    data_dir: DataDir = None,
    cache: Cache = None,
    out: Out = CELLS,
    jobs: Jobs = 1,
    threads: Threads = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what is there and what is missing.")] = False,
    retry_failed: RetryFailed = False,
    force: Force = False,
    summary: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Write the result of the cells that are there; run nothing."),
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

    from expunge.api.documents import shown_path
    from expunge.benchmark.run import run_recipe, state_of
    from expunge.benchmark.store import Folders
    from expunge.screen import Screen

    folders, console = Folders(out, cache or out / NETWORKS, data_dir), Screen()
    if summary is not None:
        write_summary(loaded[0], folders, summary, f"expunge bench {shown_path(recipes[0])}", console)
        return
    failed = 0
    for recipe in loaded:
        if dry_run:
            listed(recipe, state_of(recipe, folders), folders, console)
            continue
        again = {"retry_failed": retry_failed, "force": force}
        state = run_recipe(recipe, folders, jobs=jobs, threads=threads, **again, console=console)
        listed(recipe, state, folders, console)
        failed += len(state.failed)
    if failed:
        raise typer.Exit(1)


def write_summary(recipe: Recipe, folders: Folders, target: Path, command: str, console: Console) -> None:
    """Write the result document of a recipe, and show its tables."""
    from expunge.benchmark.store import check_result_file, write_json
    from expunge.benchmark.summarising import summary
    from expunge.report import print_tables

    check_result_file(target)
    result = summary(recipe, folders, command)
    write_json(target, result)
    print_tables(result, console)
    for part in result["requests"]:
        for cell in part["incomplete"]:
            line = f"{part['id']} {cell['row']} seed {cell['seed']}: {cell['what']}, {cell['sentence']}"
            console.print(line, soft_wrap=True, markup=False)
    console.print(f"Summary: {target}", soft_wrap=True, markup=False)


def listed(recipe: Recipe, state: State, folders: Folders, console: Console) -> None:
    """Show what is there of a recipe, what failed and why, and what is missing."""
    lines = [f"missing {item.words} {item.key}" for item in state.missing]
    lines += [f"failed  {item.words} {item.key}: {sentence(folders.found(item))}" for item in state.failed]
    waiting = f", {state.undecided} more once their tuning is done" if state.undecided else ""
    counts = f"{len(state.made)} made, {len(state.failed)} failed, {len(state.missing)} missing{waiting}"
    for line in [*lines, f"{recipe.title}: {counts}"]:
        console.print(line, soft_wrap=True, markup=False)


def sentence(facts: dict[str, dict[str, str]] | None) -> str:
    """Return why an item could not be made."""
    return (facts or {}).get("failure", {}).get("sentence", "")
