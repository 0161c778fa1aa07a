"""The family of text-to-image models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from expunge.batch import Examples, Predictor, Split
from expunge.engine import MethodRecipe, RunOptions
from expunge.errors import ConfigError, DataError, ModelError
from expunge.objectives import Objective, RandomLabel
from expunge.request.request_file import UNLEARNED_FOLDER, RequestFile
from expunge.tasks.diffusion.forward_process import noise_matching_losses
from expunge.tasks.diffusion.model_fit import measure_noise_fit
from expunge.tasks.diffusion.task import DIFFUSION_OBJECTIVES
from expunge.tasks.model_fit import ModelFit
from expunge.tasks.stable_diffusion.adapters import has_adapter, save_adapter
from expunge.tasks.stable_diffusion.memory import MAX_PASS_BATCH_SIZE, check_memory
from expunge.tasks.stable_diffusion.objectives import OtherPrompt
from expunge.tasks.stable_diffusion.prompt_sampler import PromptSampler
from expunge.tasks.stable_diffusion.request import StableDiffusionConfig
from expunge.tasks.stable_diffusion.text_to_image import TextToImage
from expunge.tasks.task import Task

NUM_PROBE_EXAMPLES = 64
"""Examples of each side that are looked at beforehand."""
NUM_FIT_EXAMPLES = 4
"""Latents by which it is told how well the model knows them: one pass of a large network takes seconds."""


class StableDiffusion(Task):
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
    request: ClassVar[type[RequestFile]] = StableDiffusionConfig
    job: ClassVar[str] = "expunge.api.generative.stable_diffusion_job:StableDiffusionJob"
    weights_name: ClassVar[str] = UNLEARNED_FOLDER
    is_distributable: ClassVar[bool] = False
    objectives: ClassVar[Mapping[type[Objective], type[Objective]]] = {**DIFFUSION_OBJECTIVES, RandomLabel: OtherPrompt}
    inherits_objectives_from: ClassVar[tuple[str, ...]] = ("diffusion",)
    estimates_memory: ClassVar[bool] = True
    identified_by_prompt: ClassVar[bool] = True
    default_method: ClassVar[str] = "uce"
    defaults: ClassVar[Mapping[str, Any]] = {"optimizer": "adamw", "lr": 1e-5, "weight_decay": 0.0, "batch_size": 8}

    def make_predictor(self, model: nn.Module, logits: Callable[[Any], Tensor] | None = None) -> Predictor:
        """Return the model with the loss of its training."""
        if logits is not None:
            raise ConfigError("no logits= for a text-to-image model", "a function", "leave it out")
        return Predictor(as_text_to_image(model), loss_fn=noise_matching_losses, max_batch_size=MAX_PASS_BATCH_SIZE)

    def count_classes(self, predict: Predictor, *sides: Examples) -> int:
        """Return the number of prompts in the model's table.

        Raises:
            DataError: If latents are not of the model's form.
            ModelError: If the model knows no prompts.
        """
        model = as_text_to_image(predict.model)
        if not model.classes:
            hint = "use what concept_split returns, or model.with_prompts([prompts])"
            raise ModelError("a model with a table of prompts", "one that knows the empty prompt alone", hint)
        for examples in sides:
            check_latents(examples.batch(torch.arange(min(NUM_PROBE_EXAMPLES, len(examples)))).inputs, model)
        return model.classes

    def measure_fit(self, predict: Predictor, split: Split, *, has_budget: bool) -> tuple[ModelFit, ...]:
        """Return the share of the noise in a few latents that the model predicts."""
        return measure_noise_fit(predict, replace(split, holdout=None), NUM_FIT_EXAMPLES)

    def check_memory(
        self, model: nn.Module, recipe: MethodRecipe, split: Split, conditions: RunOptions, *, inplace: bool
    ) -> None:
        """Refuse a run that needs more memory than is free, see ``peak_memory``.

        Raises:
            ConfigError: If it does.
        """
        check_memory(as_text_to_image(model), recipe, split, conditions, inplace)

    def save(self, model: nn.Module, folder: Path, like: Path | None = None) -> Path:
        """Write the folder ``unlearned``, a whole pipeline in diffusers' layout, and ``adapter`` if there is one."""
        text_to_image = as_text_to_image(model)
        if has_adapter(text_to_image.unet):
            save_adapter(text_to_image, folder / "adapter", overwrite=True)
        return text_to_image.save_pretrained(folder / self.weights_name, overwrite=True)

    def reload(self, model: nn.Module, path: Path) -> TextToImage:
        """Return the model in a folder, on the device of another one."""
        return self.load(path).to(next(model.parameters()).device)

    def detects(self, folder: Path) -> bool:
        """Return whether a folder is that of a pipeline; whether of one that is supported, ``load`` says."""
        return (folder / "model_index.json").is_file()

    def load(self, folder: Path) -> TextToImage:
        """Return the model in a folder, see ``TextToImage.from_pretrained``."""
        return TextToImage.from_pretrained(folder)

    def make_sampler(self, model: nn.Module, guidance: float | None = None, steps: int | None = None) -> PromptSampler:
        """Return what draws images of prompts, by default with guidance 7.5 and 50 steps."""
        return PromptSampler(as_text_to_image(model), guidance, steps)


def as_text_to_image(model: object) -> TextToImage:
    """Return the model if it is one.

    Raises:
        ModelError: If it is something else.
    """
    if isinstance(model, TextToImage):
        return model
    hint = "pass TextToImage.from_pretrained(folder), or TextToImage(pipeline)"
    raise ModelError("a TextToImage, a pipeline with its table of prompts", type(model).__name__, hint)


def check_latents(latents: Any, model: TextToImage) -> None:
    """Refuse what is no batch of latents for the model.

    Raises:
        DataError: If the form or the type is another, or a number is not finite.
    """
    shape = tuple(latents.shape[1:]) if isinstance(latents, Tensor) else type(latents).__name__
    if shape != model.sample_shape:
        actual = f"{shape}"
        raise DataError(
            f"latents {model.sample_shape}", actual, "encode the images with this model, see PromptExamples"
        )
    if not latents.is_floating_point() or not bool(torch.isfinite(latents).all()):
        raise DataError("latents of finite real numbers", f"{latents.dtype}", "encode the images again")
