"""``expunge ulira``: what a request's method leaves to an attacker with shadow models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.run import DataDir, Out, RequestPath


def ulira(
    request: RequestPath,
    num_shadow_models: Annotated[int, typer.Option(help="Train and unlearn this many models, an even number.")] = 32,
    cache: Annotated[Path | None, typer.Option(help="Keep the models here instead of in the run folder.")] = None,
    jobs: Annotated[int, typer.Option(help="Run this many processes.")] = 1,
    data_dir: DataDir = None,
    out: Out = None,
) -> None:
    """Audit the method of a request with shadow models (U-LiRA).

    Trains many networks, each on a random half of the examples that the request
    forgets, lets each unlearn its half, and tells example by example which half it
    was. The section 'train' says how they are trained. What is made is kept, and an
    audit that was stopped goes on.
    """
    from expunge.request.config import load_request

    config = load_request(request)
    if out is not None:
        config = config.model_copy(update={"out": out})

    from expunge.api import ulira_request
    from expunge.screen import SafeConsole

    ulira_request(
        config, num_shadow_models=num_shadow_models, cache=cache, jobs=jobs, data_dir=data_dir, console=SafeConsole()
    )
