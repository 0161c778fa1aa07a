"""The family of class-conditional diffusion models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from expunge.batch import Examples, Predictor, Split
from expunge.errors import ConfigError, DataError
from expunge.objectives import CrossEntropy, NegativeCrossEntropy, Objective, RandomLabel, UniformTarget
from expunge.request.request_file import UNLEARNED_FOLDER, RequestFile
from expunge.tasks.diffusion.class_sampler import ClassSampler
from expunge.tasks.diffusion.ddpm import DDPM, EMA_FOLDER, SCHEDULER_FOLDER, UNET_FOLDER
from expunge.tasks.diffusion.denoiser import Denoiser, as_denoiser
from expunge.tasks.diffusion.diffusion_classifier import measure_recognition
from expunge.tasks.diffusion.forward_process import noise_matching_losses
from expunge.tasks.diffusion.model_fit import measure_class_fit, measure_noise_fit
from expunge.tasks.diffusion.objectives import NoiseAscent, NoiseMatching, OtherClass, UniformNoise
from expunge.tasks.diffusion.request import DiffusionConfig
from expunge.tasks.loss_figures import Recognition
from expunge.tasks.model_fit import ModelFit
from expunge.tasks.task import Task

NUM_PROBE_EXAMPLES = 64
"""Examples of each side that are looked at beforehand."""
NUM_FIT_EXAMPLES = 64
"""Images of each side by which it is told how well the model knows them."""
DIFFUSION_OBJECTIVES: Mapping[type[Objective], type[Objective]] = {
    CrossEntropy: NoiseMatching,
    NegativeCrossEntropy: NoiseAscent,
    RandomLabel: OtherClass,
    UniformTarget: UniformNoise,
}
"""A classifier's objective → what is descended in its place."""


class Diffusion(Task):
    """Class-conditional diffusion models, which return the noise in an image.

    A model that was trained with averaged weights is unlearned from these, and they are handed over: see ``DDPM``.

    ``auto`` is EUPMU under the lenient mask, which alone of six methods met all aims of the study on Fashion-MNIST
    (``docs/results/diffusion-fashion-mnist.md``, one seed): the class was forgotten, and the distance of the other
    images from real ones and from the original's was the least. Its learning rate is found by a range
    test, and it ends when images of the class are no longer recognized. Inside a budget it is the same objectives and
    the same mask under the controller of the whole run's loss.

    Examples:
        >>> Diffusion().name
        'diffusion'
    """

    aliases: ClassVar[tuple[str, ...]] = ("ddpm",)
    request: ClassVar[type[RequestFile]] = DiffusionConfig
    job: ClassVar[str] = "expunge.api.generative.diffusion_job:DiffusionJob"
    weights_name: ClassVar[str] = UNLEARNED_FOLDER
    is_distributable: ClassVar[bool] = False
    objectives: ClassVar[Mapping[type[Objective], type[Objective]]] = DIFFUSION_OBJECTIVES
    default_method: ClassVar[str] = "eupmu + feasible(lenient, delta=0.1)"
    budget_method: ClassVar[str] = "random_labels_with_budget + feasible(lenient, delta=0.1)"
    learning_rates: ClassVar[tuple[float, ...]] = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
    defaults: ClassVar[Mapping[str, Any]] = {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.0, "batch_size": 64}

    def make_predictor(self, model: nn.Module, logits: Callable[[Any], Tensor] | None = None) -> Predictor:
        """Return the model with the loss of its training."""
        if logits is not None:
            raise ConfigError("no logits= for a diffusion model", "a function", "leave it out")
        return Predictor(as_denoiser(model), loss_fn=noise_matching_losses)

    def count_classes(self, predict: Predictor, *sides: Examples) -> int:
        """Return the number of classes that the model was trained with.

        Raises:
            DataError: If images are not of the form and range that it was trained on.
        """
        model = as_denoiser(predict.model)
        for examples in sides:
            images = examples.batch(torch.arange(min(NUM_PROBE_EXAMPLES, len(examples)))).inputs
            check_images(images, model)
        return model.classes

    def measure_recognition(self, predict: Predictor, examples: Examples) -> Recognition:
        """Return the share of images whose class helps the model to see their noise."""
        return measure_recognition(predict, examples)

    def measure_fit(self, predict: Predictor, split: Split, *, has_budget: bool) -> tuple[ModelFit, ...]:
        """Return the share of the noise that the model predicts, and inside a budget whether classes help it."""
        fits = measure_noise_fit(predict, split, NUM_FIT_EXAMPLES)
        return (*fits, measure_class_fit(predict, split, NUM_FIT_EXAMPLES)) if has_budget else fits

    def save(self, model: nn.Module, folder: Path, like: Path | None = None) -> Path:
        """Write the folder ``unlearned`` in diffusers' layout, without any averaged copy that still remembers."""
        return as_denoiser(model).save_pretrained(folder / self.weights_name, overwrite=True)

    def reload(self, model: nn.Module, path: Path) -> DDPM:
        """Return the model in a folder, on the device of another one."""
        return self.load(path).to(next(model.parameters()).device)

    def detects(self, folder: Path) -> bool:
        """Return whether a folder has a network and its schedule, and nothing that reads prompts."""
        network = (folder / UNET_FOLDER).is_dir() or (folder / EMA_FOLDER).is_dir()
        return network and (folder / SCHEDULER_FOLDER).is_dir() and not (folder / "text_encoder").is_dir()

    def load(self, folder: Path) -> DDPM:
        """Return the model in a folder, see ``DDPM.from_pretrained``."""
        return DDPM.from_pretrained(folder)

    def make_sampler(self, model: nn.Module, guidance: float | None = None, steps: int | None = None) -> ClassSampler:
        """Return what draws images of classes, by default with guidance 2 and 25 steps."""
        return ClassSampler(as_denoiser(model), guidance, steps)


def check_images(images: Any, model: Denoiser) -> None:
    """Refuse what is no batch of images for the model.

    Raises:
        DataError: If the form, the type or the range is another.
    """
    shape = tuple(images.shape[1:]) if isinstance(images, Tensor) else type(images).__name__
    if shape != model.sample_shape:
        raise DataError(
            f"images {model.sample_shape}, channels first", f"{shape}", "resize the images or build another model"
        )
    if not images.is_floating_point() or not bool(torch.isfinite(images).all()):
        raise DataError("images of finite real numbers", f"{images.dtype}", "scale them to [-1, 1]")
    low, high = float(images.min()), float(images.max())
    if low < -1.01 or high > 1.01 or low >= 0:
        raise DataError("images scaled to [-1, 1]", f"values from {low:g} to {high:g}", "use 2 x - 1 for x in [0, 1]")
