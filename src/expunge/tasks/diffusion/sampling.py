"""Sampling: images of asked classes, the same from the same seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from expunge.batch import evaluation_mode
from expunge.engine import combine_seeds
from expunge.errors import ConfigError, ModelError, RequestError
from expunge.tasks.diffusion.denoiser import Denoiser
from expunge.tasks.diffusion.optional import import_diffusers


def sample(
    model: Denoiser,
    labels: Tensor,
    *,
    guidance: float = 2.0,
    steps: int = 25,
    seed: int = 0,
    batch_size: int = 256,
    on_images: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return one image for each label, ``(n, channels, height, width)`` in [−1, 1] or as latents, on the CPU.

    Sampled by DDIM without noise of its own (η = 0), so that an image depends on its starting noise alone: that of
    image i comes from (seed, i), whatever the batch size. Two models can be compared image by image.

    Paper: "Denoising Diffusion Implicit Models" (Song et al., ICLR 2021, arXiv 2010.02502).

    Formula: ε = ε(x_t, t, ∅) + w (ε(x_t, t, c) − ε(x_t, t, ∅)), w the guidance.

    Args:
        model: The model; its modes are left as found.
        labels: Classes ``(n,)`` int64.
        guidance: w ≥ 0; 1 is none and works without a null class. Default 2.
        steps: Default 25.
        seed: Default 0.
        batch_size: Images at a time. Default 256.
        on_images: Called with (images made, of how many) after each batch.

    Raises:
        ConfigError: If guidance is negative, a count not positive, or there are more steps than the schedule has.
        RequestError: If a label is none of the model's.
        ModelError: If guidance is asked for and the model has no null class.
        MissingExtraError: If diffusers is not installed.
    """
    unknown = labels[(labels < 0) | (labels >= model.classes)]
    if len(unknown):
        hint = "ask for classes that the model knows"
        raise RequestError(f"classes from 0 to {model.classes - 1}", f"{int(unknown[0])}", hint)
    return sample_from_noise(
        model,
        labels,
        lambda positions: draw_initial_noise(model, positions, seed),
        guidance=guidance,
        steps=steps,
        batch_size=batch_size,
        on_images=on_images,
    )


@torch.no_grad()
def sample_from_noise(
    model: Denoiser,
    labels: Tensor,
    make_noise: Callable[[Tensor], Tensor],
    *,
    guidance: float,
    steps: int,
    batch_size: int,
    on_images: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return one sample for each label from starting noise of one's own, as ``sample`` does."""
    check_sampling_options(model, guidance, min(steps, batch_size))
    scheduler = make_scheduler(model, steps)
    samples = []
    with evaluation_mode(model):
        for positions in torch.arange(len(labels)).split(min(batch_size, max(1, len(labels)))):
            samples.append(sample_loop(model, scheduler, labels[positions], make_noise(positions), guidance))
            if on_images is not None:
                on_images(int(positions[-1]) + 1, len(labels))
    return torch.cat(samples) if samples else torch.empty(0, *model.sample_shape)


def make_scheduler(model: Denoiser, steps: int) -> Any:
    """Return the schedule of sampling; only images in [−1, 1] may be clipped to that range on the way."""
    limits = {} if model.has_bounded_samples else {"clip_sample": False, "thresholding": False}
    # Without the note which settings are defaults, that only a schedule that was never saved has: they would be
    # replaced by other defaults, and a model's images would change by saving it.
    config = {name: value for name, value in dict(model.scheduler.config).items() if name != "_use_default_values"}
    scheduler = import_diffusers("sampling").DDIMScheduler.from_config(config, **limits)
    length = int(scheduler.config.num_train_timesteps)
    if steps <= length:
        scheduler.set_timesteps(steps)
    # An offset moves the first step of a full schedule past its end.
    if steps > length or int(scheduler.timesteps.max()) >= length:
        leading = scheduler.config.timestep_spacing == "leading"
        max_steps = length - int(scheduler.config.steps_offset) if leading else length
        expected = f"at most {max_steps} sampling steps, for a model with a schedule of {length}"
        raise ConfigError(expected, f"{steps}", f"use fewer steps, such as {min(50, max_steps)}")
    return scheduler


def check_steps(model: Denoiser, steps: int) -> None:
    """Refuse more sampling steps than a model's schedule has, before anything is drawn."""
    make_scheduler(model, steps)


def check_sampling_options(model: Denoiser, guidance: float, count: int) -> None:
    """Refuse what cannot be sampled."""
    if count < 1 or not guidance >= 0:
        raise ConfigError("steps and batch_size ≥ 1, guidance ≥ 0", f"{count} and {guidance}", "change them")
    if guidance != 1 and model.null_class is None:
        raise ModelError("a model with a null class, for guidance", "one without", "use guidance=1")


def draw_initial_noise(model: Denoiser, positions: Tensor, seed: int) -> Tensor:
    """Return the starting noise of the images at the positions."""
    generators = (torch.Generator().manual_seed(combine_seeds(seed, position)) for position in positions.tolist())
    return torch.stack([torch.randn(model.sample_shape, generator=generator) for generator in generators])


def sample_loop(model: Denoiser, scheduler: Any, labels: Tensor, noise: Tensor, guidance: float) -> Tensor:
    """Return the images that a batch of noise becomes."""
    weight = next(model.parameters())
    images, labels = noise.to(weight), labels.to(weight.device)
    for time in scheduler.timesteps:
        predicted_noise = predict_guided_noise(model, images, torch.full_like(labels, int(time)), labels, guidance)
        # Guidance drives the image that is in sight out of [−1, 1], where the scheduler clips it; without taking the
        # noise from the clipped image too, the two no longer belong together, and guided images fall to pieces.
        images = scheduler.step(
            predicted_noise, time, images, use_clipped_model_output=model.has_bounded_samples
        ).prev_sample
    samples = images.clamp(-1, 1) if model.has_bounded_samples else images
    return samples.float().cpu()


def predict_guided_noise(model: Denoiser, images: Tensor, times: Tensor, labels: Tensor, guidance: float) -> Tensor:
    if guidance == 1 or model.null_class is None:
        noise: Tensor = model(images, times, labels)
        return noise
    both = torch.cat([labels, torch.full_like(labels, model.null_class)])
    conditional, unconditional = model(torch.cat([images, images]), torch.cat([times, times]), both).chunk(2)
    guided: Tensor = unconditional + guidance * (conditional - unconditional)
    return guided
