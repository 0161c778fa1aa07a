"""``expunge train``: train the original that a request file describes, and save its weights."""

from __future__ import annotations

from expunge.cli.run import DataDir, Out, Overwrite, RequestPath


def train(request: RequestPath, data_dir: DataDir = None, out: Out = None, overwrite: Overwrite = False) -> None:
    """Train the original of a request and save its weights.

    The section 'train' of the request file says how.
    """
    from expunge.request.config import load_request

    config = load_request(request)
    if out is not None:
        config = config.model_copy(update={"out": out})

    from expunge.api import train_request
    from expunge.screen import SafeConsole

    train_request(config, data_dir=data_dir, overwrite=overwrite, console=SafeConsole())
