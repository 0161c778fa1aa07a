"""``expunge demo``: the main job from end to end on scikit-learn's handwritten digits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    fast: Annotated[bool, typer.Option("--fast", help="Half a minute instead of two.")] = False,
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("expunge-demo"),
    seeds: Annotated[int, typer.Option(min=1, help="Paired repetitions of each method.")] = 3,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.  [default: torch's choice]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in the folder.")] = False,
) -> None:
    """Forget handwritten digits, a class and a random tenth.

    Prints one table per request, and writes a run folder with a report.
    """
    from rich.console import Console

    from expunge.demo import run_demo

    run_demo(fast=fast, out=out, seeds=seeds, threads=threads, overwrite=overwrite, console=Console(highlight=False))
