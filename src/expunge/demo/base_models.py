"""The models that the diffusion demo begins with, and the classifiers that look at their images: trained once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from expunge.api.generative.diffusion_job import rescale_to_signed
from expunge.api.progress import progress_bar
from expunge.data import LabeledDataset
from expunge.data.file_hashes import cache_folder
from expunge.errors import ConfigError, is_unicode
from expunge.registry import find_component
from expunge.tasks.classification.training import TrainSettings, train_classifier
from expunge.tasks.diffusion.ddpm import DDPM
from expunge.tasks.diffusion.folders import atomic_folder
from expunge.tasks.diffusion.small_unet import small_ddpm
from expunge.tasks.diffusion.training import DiffusionTrainSettings, train_ddpm
from expunge.weights import save_weights

CLASSIFIER = "resnet8"
CLASSIFIER_FILE = "classifier.safetensors"
MODEL_FOLDER = "ddpm"

MODEL_TRAINING: Mapping[str, DiffusionTrainSettings] = {
    "fashion_mnist": DiffusionTrainSettings(updates=8000, lr=2e-3, warmup_updates=200, ema_decay=0.999),
    "digits": DiffusionTrainSettings(updates=2000, lr=4e-3, warmup_updates=50, ema_decay=0.995),
}
CLASSIFIER_TRAINING: Mapping[str, TrainSettings] = {
    "fashion_mnist": TrainSettings(epochs=8, batch_size=128, lr=0.1),
    "digits": TrainSettings(epochs=30, batch_size=64, lr=0.1),
}


def find_base_models(
    name: str, source: LabeledDataset, folder: Path | None = None, console: Console | None = None
) -> Path:
    """Return the folder of the base model and the classifier of a data set; train both if it is not there."""
    folder = cache_folder() / "demo" if folder is None else folder
    if not is_unicode(str(folder)):
        raise ConfigError("a folder with a UTF-8 name", ascii(str(folder)), "choose another for the base models")
    target = folder / name
    if not target.is_dir():
        classifier, model = _train_base_models(name, source, console or Console(quiet=True))
        with atomic_folder(target) as temporary:
            save_weights(classifier, temporary / CLASSIFIER_FILE)
            model.save_pretrained(temporary / MODEL_FOLDER)
    return target


def _train_base_models(name: str, source: LabeledDataset, console: Console) -> tuple[nn.Module, DDPM]:
    """Train the classifier on the images as they are read, and the diffusion model on those in [−1, 1]."""
    console.print("Training the base model and the classifier: once, they are kept.", highlight=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classifier = find_component("models", CLASSIFIER)(len(source.class_names), channels=source.shape[0])
        settings = CLASSIFIER_TRAINING[name]
        with progress_bar(console, "Classifier", settings.epochs, width=16) as shown:
            train_classifier(classifier, source.train, settings, on_epoch=shown.set_epoch)
        torch.manual_seed(0)
        model: Any = small_ddpm(source.shape[1])
        model.to(memory_format=torch.channels_last)
    training = MODEL_TRAINING[name]
    scaled = copy.deepcopy(source)
    rescale_to_signed(scaled)
    with progress_bar(console, "Base model", training.updates, width=16, images=training.batch_size) as shown:
        train_ddpm(model, scaled.train, training, on_update=shown.set_progress)
    return classifier, model.to(memory_format=torch.contiguous_format)
