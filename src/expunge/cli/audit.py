"""``expunge audit``: check somebody else's unlearning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.run import DataDir
from expunge.errors import ConfigError

REQUEST_SUFFIXES = {".yaml", ".yml"}


def audit(
    original: Annotated[
        Path, typer.Argument(metavar="ORIGINAL", help="Weights before, or a request file.", show_default=False)
    ],
    unlearned: Annotated[Path, typer.Argument(metavar="UNLEARNED", help="Weights to check.", show_default=False)],
    model: Annotated[
        str | None, typer.Option(help="Name the network, as in a request file.", show_default=False)
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Name the data set that it was trained on.", show_default=False)
    ] = None,
    forget: Annotated[
        str | None,
        typer.Option(help="Name the forgotten examples, such as class=3 or indices=FILE.", show_default=False),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Compare with these weights of a retrained model.", show_default=False)
    ] = None,
    data_dir: DataDir = None,
    out: Annotated[Path, typer.Option(help="Write report and figures into this folder.")] = Path("audit"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier audit in the folder.")] = False,
) -> None:
    """Check a model that was unlearned elsewhere.

    Shows what it still knows of the forgotten examples, what it lost, a bound on
    that from examples used for nothing else, and which layers moved. Weights are
    safetensors files. In place of ORIGINAL a request file may be given, which
    names network, original, data and what was to be forgotten:

    expunge audit original.safetensors unlearned.safetensors --model resnet20 --data cifar10 --forget class=cat

    expunge audit request.yaml unlearned.safetensors
    """
    from expunge.request.config import load_request
    from expunge.request.options import parse_request_options

    options = {"model": model, "data": data, "forget": forget}
    if original.suffix.lower() in REQUEST_SUFFIXES:
        check_exclusive([name for name, value in options.items() if value is not None], original)
        config = load_request(original)
    else:
        config = parse_request_options(options, {"checkpoint": original, "retrained_model": reference})

    from expunge.api import audit_request
    from expunge.screen import SafeConsole

    audit_request(
        config,
        unlearned,
        retrained=reference,
        data_dir=data_dir,
        out=out,
        overwrite=overwrite,
        console=SafeConsole(),
    )


def check_exclusive(options: list[str], request: Path) -> None:
    """Refuse options that say again what a request file says.

    Raises:
        ConfigError: If there are some.
    """
    if options:
        actual = f"--{options[0]} beside '{request}'"
        raise ConfigError("a request file or options in its place", actual, "leave out one of them")
