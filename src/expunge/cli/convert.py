"""``expunge convert``: the one door for pickled weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.echo import echo


def convert(
    source: Annotated[Path, typer.Argument(help="Weights saved by torch.save.", show_default=False)],
    target: Annotated[Path, typer.Argument(help="The safetensors file to write.", show_default=False)],
    state_dict_key: Annotated[
        str | None, typer.Option(help="Read the weights under this key of the file, such as state_dict.")
    ] = None,
) -> None:
    """Rewrite pickled weights as safetensors.

    The pickle is read in a process of its own that accepts nothing but tensors.
    """
    from expunge.api.convert import convert as rewrite

    rewrite(source, target, state_dict_key, on_message=echo)
    echo(f"Wrote {target}")
