"""``expunge images``: what several checkpoints draw from the same seeds, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.echo import echo


def images(
    checkpoints: Annotated[list[Path], typer.Argument(help="Folders of models, or run folders.", show_default=False)],
    ask: Annotated[list[str], typer.Option(help="A class or a prompt; may be repeated.", show_default=False)],
    seeds: Annotated[str, typer.Option(help="Such as 0-3 or 0,5,9.")] = "0-3",
    out: Annotated[Path, typer.Option(help="The PNG file.")] = Path("grid.png"),
    guidance: Annotated[float | None, typer.Option(help="Of the classifier-free kind; 1 is none.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Of the sampler.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images at a time.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Processor threads.  [default: torch's choice]")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older file.")] = False,
) -> None:
    """Draw with the same seeds from two checkpoints or more.

    Writes one picture: a row for each checkpoint, a column for each request and seed.
    """
    from expunge.api.generative.images import draw_images, seeds_of
    from expunge.screen import Screen

    draw_images(
        checkpoints,
        ask,
        seeds_of(seeds),
        out,
        guidance=guidance,
        steps=steps,
        batch_size=batch_size,
        threads=threads,
        device=device,
        overwrite=overwrite,
        console=Screen(),
    )
    echo(f"Wrote {out}")
