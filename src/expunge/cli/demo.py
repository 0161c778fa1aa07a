"""``expunge demo``: the main job from end to end, for a classifier or for a diffusion model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class DemoTask(StrEnum):
    """What the demo is about."""

    classification = "classification"
    diffusion = "diffusion"


def demo(
    task: Annotated[DemoTask, typer.Option(help="Choose the kind of model that forgets.")] = DemoTask.classification,
    fast: Annotated[bool, typer.Option("--fast", help="Run the short variant.")] = False,
    out: Annotated[Path, typer.Option(help="Write into this folder.")] = Path("expunge-demo"),
    seeds: Annotated[
        int, typer.Option(min=1, help="Repeat each method with this many paired seeds (classification).")
    ] = 3,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Read the data from this folder (diffusion without --fast).  [default: EXPUNGE_DATA]"),
    ] = None,
    models_dir: Annotated[
        Path | None,
        typer.Option(help="Keep the base models of the diffusion demo in this folder.  [default: the user's cache]"),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Use this many processor threads.  [default: torch's choice]")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in the folder.")] = False,
) -> None:
    """Forget handwritten digits, or how to draw clothes.

    classification: a class and a random tenth of handwritten digits, two minutes; half a minute with --fast.
    diffusion: one class of a model that draws Fashion-MNIST; --fast takes one that draws digits, and needs no data.
    Its first run trains that model: a minute with --fast, else half an hour; examples/models has both.

    Prints one table per request, and writes a run folder with a report.
    """
    from expunge.screen import SafeConsole

    console = SafeConsole()
    if task is DemoTask.diffusion:
        from expunge.demo.diffusion import run_diffusion_demo

        run_diffusion_demo(
            fast=fast,
            out=out,
            data_dir=data_dir,
            models_dir=models_dir,
            threads=threads,
            overwrite=overwrite,
            console=console,
        )
        return
    from expunge.demo import run_demo

    run_demo(fast=fast, out=out, seeds=seeds, threads=threads, overwrite=overwrite, console=console)
