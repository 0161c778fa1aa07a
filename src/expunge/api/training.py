"""``train_request``: train the original that a request describes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from expunge.api.compute_context import compute_context
from expunge.api.earlier_requests import exclude_earlier
from expunge.api.folder import ORIGINAL_FILE, check_name_length, check_writable
from expunge.api.inputs import read_exclusions, resolve_device
from expunge.api.loading import create_trainable_model, error_location, read_train_settings, validate_source
from expunge.api.path_conflicts import check_paths
from expunge.api.progress import progress_bar
from expunge.api.result import get_task
from expunge.batch import Examples, device_of
from expunge.errors import ConfigError
from expunge.request.model_request import ModelRequest
from expunge.request.request_file import RequestFile
from expunge.tasks.train_settings import TrainRecord
from expunge.type_checks import check_argument_types
from expunge.weights import save_weights


@check_argument_types
def train_request(
    config: RequestFile, *, data_dir: Path | None = None, overwrite: bool = False, console: Console | None = None
) -> Path:
    """Train the original of a request and return the path of its weights.

    They go where ``checkpoint`` points, or into the run folder as ``original.safetensors``.

    Args:
        config: The request, with a section ``train``.
        data_dir: Folder of the data. Default: the variable ``EXPUNGE_DATA``.
        overwrite: Replace weights that are there. Default false.
        console: Where progress goes. Default: nowhere.

    Raises:
        ConfigError: If weights are there already and must not be replaced, or there is no section ``train``.
        ExpungeError: If something else does not fit; before the first step.
    """
    console = console or Console(quiet=True)
    config = config.as_model_request(
        "train it with expunge.tasks.diffusion.training.train_ddpm, and name its folder as 'model'"
    )
    read_train_settings(config)
    target = config.checkpoint or config.out / ORIGINAL_FILE
    check_paths(config, data_dir)
    with error_location(config, "checkpoint" if config.checkpoint else "out"):
        if target.exists() and not overwrite:
            raise ConfigError("no weights yet", f"'{target}'", "pass --overwrite to train and replace them")
        check_writable(target.parent)
        check_name_length(target)
    with error_location(config, "device"):
        device = resolve_device(config.device)
    with compute_context(config):
        source = validate_source(config, data_dir)
        model = create_trainable_model(config, source).to(device)
        with error_location(config, "exclude"):
            examples = exclude_earlier(source.train, read_exclusions(config, source))
        record = train_model(model, examples, config, console, "Training")
    target.parent.mkdir(parents=True, exist_ok=True)
    save_weights(model, target, {"train_accuracy": f"{record.train_accuracy:.5f}"}, overwrite=True)
    console.print(f"Train accuracy {100 * record.train_accuracy:.2f} %")
    console.print(f"Weights: {target}", soft_wrap=True)
    return target


def train_model(model: nn.Module, examples: Examples, config: ModelRequest, console: Console, what: str) -> TrainRecord:
    """Train a network, where it is, as the section ``train`` says."""
    settings, augment = read_train_settings(config), getattr(examples, "augment", None)
    with progress_bar(console, what, settings.epochs) as progress:
        options: dict[str, Any] = {
            "on_epoch": progress.set_epoch,
            "augment": augment,
            "channels_last": config.channels_last,
        }
        return get_task(config.task).train(model, examples, settings, device=device_of(model), **options)
