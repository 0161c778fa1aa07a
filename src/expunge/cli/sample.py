"""``expunge sample``: what several checkpoints draw from the same seeds, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.echo import echo


def sample(
    checkpoints: Annotated[list[Path], typer.Argument(help="Folders of models, or run folders.", show_default=False)],
    prompt: Annotated[list[str], typer.Option(help="Draw this class or prompt; may be repeated.", show_default=False)],
    seeds: Annotated[str, typer.Option(help="Use these seeds, such as 0-3 or 0,5,9.")] = "0-3",
    out: Annotated[Path, typer.Option(help="Write this PNG file.")] = Path("grid.png"),
    guidance: Annotated[
        float | None, typer.Option(help="Set the scale of classifier-free guidance; 1 turns it off.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Run this many sampler steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Draw this many images at a time.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Use this many processor threads.  [default: torch's choice]")
    ] = None,
    device: Annotated[str, typer.Option(help="Compute on auto, cpu, cuda, cuda:N or mps.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Draw with the same seeds from two checkpoints or more.

    Writes one picture: a row for each checkpoint, a column for each request and seed.
    """
    from expunge.api.generative.images import draw_images, parse_seeds
    from expunge.screen import SafeConsole

    draw_images(
        checkpoints,
        prompt,
        parse_seeds(seeds),
        out,
        guidance=guidance,
        steps=steps,
        batch_size=batch_size,
        threads=threads,
        device=device,
        overwrite=overwrite,
        console=SafeConsole(),
    )
    echo(f"Wrote {out}")
