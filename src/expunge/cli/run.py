"""``expunge run``: answer the request in a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RequestPath = Annotated[Path, typer.Argument(metavar="REQUEST.yaml", help="The request file.", show_default=False)]
DataDir = Annotated[Path | None, typer.Option(help="Read the data from this folder.  [default: EXPUNGE_DATA]")]
Out = Annotated[Path | None, typer.Option(help="Write into this folder instead of the request's own.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in the folder.")]


def run(
    request: RequestPath,
    data_dir: DataDir = None,
    out: Out = None,
    show_examples: Annotated[
        bool, typer.Option("--show-examples", help="Allow pictures of forgotten examples in the report.")
    ] = False,
    overwrite: Overwrite = False,
    ledger: Annotated[Path | None, typer.Option(help="Record the request in this ledger instead of its own.")] = None,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="Use deterministic kernels only.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume a run that was stopped or killed.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Answer a request again, or resume a run that other code began.")
    ] = False,
) -> None:
    """Answer the request in a YAML file.

    Writes the new weights, the figures and a report into the run folder. Where
    the request names no method, `auto` chooses one; with a budget it searches the
    learning rate as well, within `time_limit`. Processes that
    `torchrun` starts share the updates.
    """
    from expunge.request.config import load_request

    config = load_request(request)
    overrides = {"out": out, "ledger": ledger}
    config = config.model_copy(update={key: path for key, path in overrides.items() if path is not None})
    if deterministic:
        config = config.model_copy(update={"deterministic": True})

    from expunge.api import run_request
    from expunge.screen import SafeConsole

    run_request(
        config,
        data_dir=data_dir,
        overwrite=overwrite,
        show_examples=show_examples,
        resume=resume,
        force=force,
        console=SafeConsole(),
    )
