"""``expunge estimate-retrain``: a reference on a share of the data, for who has no retrained model."""

from __future__ import annotations

from typing import Annotated

import typer

from expunge.cli.run import DataDir, Out, Overwrite, Request


def estimate_retrain(
    request: Request,
    share: Annotated[float, typer.Option(help="Share of the training examples.")] = 0.1,
    data_dir: DataDir = None,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare with retraining on a share of the data.

    Trains an original and two references on the share, as the section 'train' of the
    request says, unlearns there, and tells what retraining cost and would cost in full.
    """
    from expunge.api.request.config import load_request

    config = load_request(request)

    from expunge.api import estimate_retrain as estimate
    from expunge.screen import Screen

    estimate(config, share=share, out=out, data_dir=data_dir, overwrite=overwrite, console=Screen())
