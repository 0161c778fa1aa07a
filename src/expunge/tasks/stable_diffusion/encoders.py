"""Reader: what turns prompts into embeddings and images into latents, and latents into images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from expunge.data.labels import as_tensor
from expunge.data.pil_images import to_upright_rgb
from expunge.errors import DataError, RequestError, is_unicode
from expunge.tasks.stable_diffusion.pipelines import FrozenComponents, temporarily_on

PROMPT_BATCH_SIZE = 32
"""Prompts that are embedded at a time."""


class PipelineEncoders:
    """Text encoder and autoencoder of a pipeline, which work where its U-Net is.

    Args:
        frozen_components: The parts of the pipeline.
        unet: Its U-Net, whose device and type are taken over.
    """

    def __init__(self, frozen_components: FrozenComponents, unet: nn.Module) -> None:
        self.frozen_components, self.unet = frozen_components, unet
        self.device = next(unet.parameters()).device

    @property
    def max_tokens(self) -> int:
        """Tokens that the text encoder reads, those of start and end included."""
        encoder_limit = self.frozen_components.text_encoder.config.max_position_embeddings
        return int(min(encoder_limit, self.frozen_components.tokenizer.model_max_length))

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Tensor:
        """Return the embedded prompts ``(n, tokens, width)``, on the device of the U-Net."""
        check_prompts(self.frozen_components.tokenizer, prompts, self.max_tokens)
        texts, pipeline = list(prompts), self.frozen_components.build_pipeline(self.unet)
        with temporarily_on(self.frozen_components.text_encoder, self.device):
            parts = [
                pipeline.encode_prompt(texts[first : first + PROMPT_BATCH_SIZE], self.device, 1, False)[0]
                for first in range(0, len(texts), PROMPT_BATCH_SIZE)
            ]
        return torch.cat(parts)

    @torch.no_grad()
    def encode(self, images: Any, latent_shape: tuple[int, int, int], batch_size: int) -> Tensor:
        """Return the scaled latents of images in [0, 1], on the CPU; ``latent_shape`` is what they must be of."""
        pixels, latents = as_pixels(images), []
        check_pixels(pixels, latent_shape, 2 ** (len(self.frozen_components.vae.config.block_out_channels) - 1))
        with temporarily_on(self.frozen_components.vae, self.device) as vae:
            for part in pixels.split(batch_size):
                inputs = 2 * part.to(next(vae.parameters())) - 1
                latents.append(vae.encode(inputs).latent_dist.mode().float().cpu())  # type: ignore[operator]
        return (torch.cat(latents) - self.shift) * self.scale

    @torch.no_grad()
    def decode(self, latents: Tensor, batch_size: int) -> Tensor:
        """Return images in [0, 1] of scaled latents, on the CPU."""
        images = []
        with temporarily_on(self.frozen_components.vae, self.device) as vae:
            for part in (latents / self.scale + self.shift).split(batch_size):
                image = vae.decode(part.to(next(vae.parameters()))).sample  # type: ignore[operator]
                images.append((image.float() / 2 + 0.5).clamp(0, 1).cpu())
        return torch.cat(images)

    @property
    def scale(self) -> float:
        """What latents are multiplied by, so that they are of about unit variance."""
        return float(self.frozen_components.vae.config.scaling_factor)

    @property
    def shift(self) -> float:
        """What is subtracted from latents before."""
        return float(getattr(self.frozen_components.vae.config, "shift_factor", None) or 0.0)


def check_prompts(tokenizer: Any, prompts: Sequence[str], max_tokens: int) -> None:
    """Refuse a prompt of which the text encoder would not read the end."""
    for prompt in prompts:
        if not isinstance(prompt, str):
            raise RequestError("prompts as text", type(prompt).__name__, "pass a list of texts")
        if not is_unicode(prompt):
            raise RequestError("prompts that can be written as UTF-8", f"'{prompt}'", "correct the text")
        count = len(tokenizer(prompt, truncation=False, verbose=False).input_ids)
        if count > max_tokens:
            excerpt = prompt if len(prompt) <= 40 else f"{prompt[:40]}…"
            expected = f"a prompt of at most {max_tokens} tokens, start and end included"
            raise RequestError(expected, f"{count} in '{excerpt}'", "shorten the prompt")


def as_pixels(images: Any) -> Tensor:
    """Return images as one tensor ``(n, channels, height, width)`` of float32."""
    if isinstance(images, Tensor):
        return _to_unit_range(images)
    tensors = [as_image(image) for image in images]
    shapes = sorted({tuple(image.shape) for image in tensors})
    if len(shapes) != 1:
        actual = " and ".join(str(form) for form in shapes[:3]) or "none"
        raise DataError("images of one shape", actual, "resize them to the model's size")
    return torch.stack(tensors)


def as_image(image: Any) -> Tensor:
    """Return one image as ``(channels, height, width)``, floats as they are and the rest scaled by its depth to [0, 1].

    Examples:
        >>> as_image(np.full((1, 1, 3), 65535, np.uint16)).flatten()
        tensor([1., 1., 1.])
    """
    if isinstance(image, Tensor):
        return _to_unit_range(image)
    pixels = np.asarray(to_upright_rgb(image, "an image") if hasattr(image, "convert") else image)
    if pixels.ndim != 3 or pixels.dtype.kind not in "uif":
        hint = "pass Pillow images, or tensors with channels first"
        raise DataError("images (height, width, 3) of numbers", f"{pixels.dtype} of shape {pixels.shape}", hint)
    return _to_unit_range(as_tensor(pixels.copy()).permute(2, 0, 1))


def _to_unit_range(values: Tensor) -> Tensor:
    """Return floats as they are, and unsigned integers of 8 and 16 bits divided by their greatest value."""
    if values.is_floating_point():
        return values.float()
    if values.dtype not in (torch.uint8, torch.uint16):
        raise DataError("images of floats in [0, 1], of 8 or of 16 bits", f"{values.dtype}", "scale them to [0, 1]")
    return values.float() / torch.iinfo(values.dtype).max


def check_pixels(pixels: Tensor, latent_shape: tuple[int, int, int], factor: int) -> None:
    """Refuse what is no batch of images for an autoencoder."""
    expected = (3, latent_shape[1] * factor, latent_shape[2] * factor)
    if tuple(pixels.shape[1:]) != expected:
        hint = "resize the images, or pass size= to the model"
        raise DataError(f"images {expected}, channels first", f"{tuple(pixels.shape[1:])}", hint)
    if not bool(torch.isfinite(pixels).all()) or float(pixels.min()) < -0.01 or float(pixels.max()) > 1.01:
        actual = f"values from {float(pixels.min()):g} to {float(pixels.max()):g}"
        raise DataError("images scaled to [0, 1]", actual, "divide bytes by 255")
