"""The family of text-to-image models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from expunge.batch import Examples, Predictor, Split
from expunge.engine import Conditions, Recipe
from expunge.errors import ConfigError, DataError, ModelError
from expunge.tasks.diffusion.fit import noise_fit
from expunge.tasks.diffusion.noising import noise_losses
from expunge.tasks.family import Family
from expunge.tasks.fit import Fit
from expunge.tasks.stable_diffusion.adapters import has_adapter, save_adapter
from expunge.tasks.stable_diffusion.memory import AT_ONCE, afford
from expunge.tasks.stable_diffusion.prompt_sampler import PromptSampler
from expunge.tasks.stable_diffusion.text_to_image import TextToImage

PROBED = 64
"""Examples of each side that are looked at beforehand."""
FITTED = 4
"""Latents by which it is told how well the model knows them: one pass of a large network takes seconds."""


class StableDiffusion(Family):
    """Text-to-image models: Stable Diffusion pipelines, with prompts in the place of classes.

    ``auto`` is UCE, the best of seven methods for the class as for the style in the study of a tiny pipeline
    (``docs/results/tiny-stable-diffusion.md``, one seed): all asked prompts were forgotten and the other images hardly
    moved. It changes how prompts are read and nothing else; what shows the concept is still in the other weights. It
    serves no adapters.

    Examples:
        >>> StableDiffusion().name
        'stable_diffusion'
    """

    aliases: ClassVar[tuple[str, ...]] = ("sd", "text_to_image")
    shares: ClassVar[tuple[str, ...]] = ("diffusion",)
    accounted: ClassVar[bool] = True
    by_prompt: ClassVar[bool] = True
    automatic: ClassVar[str] = "uce"
    defaults: ClassVar[Mapping[str, Any]] = {"optimiser": "adamw", "rate": 1e-5, "weight_decay": 0.0, "batch": 8}

    def predictor(self, model: nn.Module, logits: Callable[[Any], Tensor] | None = None) -> Predictor:
        """Return the model with the loss of its training."""
        if logits is not None:
            raise ConfigError("no logits= for a text-to-image model", "a function", "leave it out")
        return Predictor(as_text_to_image(model), loss=noise_losses, at_once=AT_ONCE)

    def classes(self, predict: Predictor, *sides: Examples) -> int:
        """Return the number of prompts in the model's table.

        Raises:
            DataError: If latents are not of the model's form.
            ModelError: If the model knows no prompts.
        """
        model = as_text_to_image(predict.model)
        if not model.classes:
            cure = "use what concept_split returns, or model.told([prompts])"
            raise ModelError("a model with a table of prompts", "one that knows the empty prompt alone", cure)
        for examples in sides:
            check_latents(examples.batch(torch.arange(min(PROBED, len(examples)))).inputs, model)
        return model.classes

    def fit(self, predict: Predictor, split: Split, *, budgeted: bool) -> tuple[Fit, ...]:
        """Return the share of the noise in a few latents that the model predicts."""
        return noise_fit(predict, replace(split, holdout=None), FITTED)

    def afford(self, model: nn.Module, recipe: Recipe, split: Split, conditions: Conditions, *, inplace: bool) -> None:
        """Refuse a run that needs more memory than is free, see ``peak_memory``.

        Raises:
            ConfigError: If it does.
        """
        afford(as_text_to_image(model), recipe, split, conditions, inplace)

    def save(self, model: nn.Module, folder: Path) -> Path:
        """Write the folder ``unlearned``, a whole pipeline in diffusers' layout, and ``adapter`` if there is one."""
        found = as_text_to_image(model)
        if has_adapter(found.unet):
            save_adapter(found, folder / "adapter", overwrite=True)
        return found.save_pretrained(folder / "unlearned", overwrite=True)

    def holds(self, folder: Path) -> bool:
        """Return whether a folder is that of a pipeline; whether of one that is supported, ``load`` says."""
        return (folder / "model_index.json").is_file()

    def load(self, folder: Path) -> TextToImage:
        """Return the model in a folder, see ``TextToImage.from_pretrained``."""
        return TextToImage.from_pretrained(folder)

    def sampler(self, model: nn.Module, guidance: float | None = None, steps: int | None = None) -> PromptSampler:
        """Return what draws images of prompts, by default with guidance 7.5 and 50 steps."""
        return PromptSampler(as_text_to_image(model), guidance, steps)


def as_text_to_image(model: object) -> TextToImage:
    """Return the model if it is one.

    Raises:
        ModelError: If it is something else.
    """
    if isinstance(model, TextToImage):
        return model
    cure = "pass TextToImage.from_pretrained(folder), or TextToImage(pipeline)"
    raise ModelError("a TextToImage, a pipeline with its table of prompts", type(model).__name__, cure)


def check_latents(latents: Any, model: TextToImage) -> None:
    """Refuse what is no batch of latents for the model.

    Raises:
        DataError: If the form or the type is another, or a number is not finite.
    """
    form = tuple(latents.shape[1:]) if isinstance(latents, Tensor) else type(latents).__name__
    if form != model.form:
        found = f"{form}"
        raise DataError(f"latents {model.form}", found, "encode the images with this model, see PromptExamples")
    if not latents.is_floating_point() or not bool(torch.isfinite(latents).all()):
        raise DataError("latents of finite real numbers", f"{latents.dtype}", "encode the images again")
