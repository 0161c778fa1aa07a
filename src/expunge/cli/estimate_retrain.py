"""``expunge estimate-retrain``: a reference on a fraction of the data, without a retrained model."""

from __future__ import annotations

from typing import Annotated

import typer

from expunge.cli.run import DataDir, Out, Overwrite, RequestPath


def estimate_retrain(
    request: RequestPath,
    fraction: Annotated[float, typer.Option(help="Train on this fraction of the examples.")] = 0.1,
    data_dir: DataDir = None,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare with retraining on a fraction of the data.

    Trains an original and two references on that fraction, as the section 'train' of the
    request says, unlearns there, and tells what retraining cost and would cost in full.
    """
    from expunge.request.config import load_request

    config = load_request(request)

    from expunge.api import estimate_retrain as estimate
    from expunge.screen import SafeConsole

    estimate(config, fraction=fraction, out=out, data_dir=data_dir, overwrite=overwrite, console=SafeConsole())
