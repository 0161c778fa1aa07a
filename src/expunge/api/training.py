"""``train_request``: train the original that a request describes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from expunge.api.chain import without
from expunge.api.folder import ORIGINAL, check_name_room, check_writable
from expunge.api.inputs import device_of, read_exclusions
from expunge.api.own_names import check_paths
from expunge.api.progress import bar
from expunge.api.reading import checked_source, located, train_settings, trainable_model
from expunge.api.request.config import AnyConfig, RunConfig
from expunge.api.threads import computing
from expunge.batch import Examples
from expunge.errors import ConfigError
from expunge.evaluation.collecting import home
from expunge.kinds import kinds_checked
from expunge.tasks.classification.training import TrainRecord, fit
from expunge.weights import save_weights


@kinds_checked
def train_request(
    config: AnyConfig, *, data_dir: Path | None = None, overwrite: bool = False, console: Console | None = None
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
    if not isinstance(config, RunConfig):
        cure = "train it with expunge.tasks.diffusion.training.fit_ddpm, and name its folder as 'model'"
        raise ConfigError("the request of a classifier", f"task: {config.task}", cure, config.where("task"))
    train_settings(config)
    target = config.checkpoint or config.out / ORIGINAL
    check_paths(config, data_dir)
    with located(config, "checkpoint" if config.checkpoint else "out"):
        if target.exists() and not overwrite:
            raise ConfigError("no weights yet", f"'{target}'", "pass --overwrite to train and replace them")
        check_writable(target.parent)
        check_name_room(target)
    with located(config, "device"):
        device = device_of(config.device)
    with computing(config):
        source = checked_source(config, data_dir)
        model = trainable_model(config, source).to(device)
        with located(config, "exclude"):
            examples = without(source.train, read_exclusions(config, source))
        record = trained(model, examples, config, console, "Training")
    target.parent.mkdir(parents=True, exist_ok=True)
    save_weights(model, target, {"train_accuracy": f"{record.train_accuracy:.5f}"}, overwrite=True)
    console.print(f"Train accuracy {100 * record.train_accuracy:.2f} %")
    console.print(f"Weights: {target}", soft_wrap=True)
    return target


def trained(model: nn.Module, examples: Examples, config: RunConfig, console: Console, what: str) -> TrainRecord:
    """Train a network, where it is, as the section ``train`` says."""
    settings, augment = train_settings(config), getattr(examples, "augment", None)
    with bar(console, what, settings.epochs) as shown:
        given: dict[str, Any] = {"on_epoch": shown.epoch, "augment": augment, "channels_last": config.channels_last}
        return fit(model, examples, settings, device=home(model), **given)
