"""``expunge convert``: the one door for pickled weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.echo import echo


def convert(
    source: Annotated[Path, typer.Argument(help="Weights saved by torch.save.", show_default=False)],
    target: Annotated[Path, typer.Argument(help="The safetensors file to write.", show_default=False)],
    key: Annotated[str | None, typer.Option(help="Where in the file the weights are, such as state_dict.")] = None,
) -> None:
    """Rewrite pickled weights as safetensors.

    The pickle is read in a process of its own that accepts nothing but tensors.
    """
    from expunge.api.convert import convert as rewrite

    rewrite(source, target, key, say=echo)
    echo(f"Wrote {target}")
