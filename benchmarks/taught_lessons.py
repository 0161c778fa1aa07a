"""Teaches a tiny Stable Diffusion pipeline captioned pictures: first its autoencoder, then text encoder and U-Net.

Not a script: ``tiny_stable_diffusion.py`` uses it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from captioned_pictures import CAPTIONS, CLASSES, GENERAL, STYLES
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from expunge.batch import Examples
from expunge.engine import ModelEMA, combine_seeds
from expunge.tasks.diffusion.training import DiffusionTrainSettings

PROMPTS = (*CAPTIONS, *GENERAL, "")
ENCODING = DiffusionTrainSettings(updates=2000, batch_size=32, lr=3e-3, warmup_updates=100, ema_decay=0.99)
DENOISING = DiffusionTrainSettings(updates=2800, batch_size=64, lr=2e-3, warmup_updates=200, ema_decay=0.998)
KL_WEIGHT = 1e-4
"""Of the Kullback–Leibler divergence of a latent's distribution from a normal one, mean over its numbers."""
GENERAL_SHARE = 0.1
"""Share of pictures whose caption says the style alone."""


@dataclass
class Course:
    """One training: AdamW with warm-up and cosine decay, clipping, averaged weights.

    Args:
        modules: What is trained; it ends in evaluation mode with its averaged weights.
        settings: How.
        shown: Called with (updates made, of how many, loss).
    """

    modules: tuple[nn.Module, ...]
    settings: DiffusionTrainSettings
    shown: Callable[[int, int, float], None]

    def run(self, examples: Examples, loss_of: Callable[[Tensor, torch.Generator], Tensor]) -> dict[str, Any]:
        """Train, and return what stands in the record.

        Args:
            examples: How many there are says how the positions are drawn.
            loss_of: Takes positions of examples and a generator.
        """
        weights = [weight for module in self.modules for weight in module.parameters()]
        optimizer = torch.optim.AdamW(weights, lr=self.settings.lr, weight_decay=0.0)
        average, losses, began = ModelEMA(weights, self.settings.ema_decay), [], time.perf_counter()
        for module in self.modules:
            module.train()
        for update, positions in enumerate(self.positions(len(examples))):
            optimizer.param_groups[0]["lr"] = self.settings.lr_at(update)
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(positions, torch.Generator().manual_seed(combine_seeds(self.settings.seed, update, 2)))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, self.settings.max_grad_norm)
            optimizer.step()
            average.update(weights)
            losses.append(float(loss.detach()))
            self.shown(update + 1, self.settings.updates, losses[-1])
        average.copy_to(weights)
        for module in self.modules:
            module.eval()
        last = losses[-len(losses) // 10 :]
        told = {"weights": sum(weight.numel() for weight in weights), "settings": asdict(self.settings)}
        return {**told, "seconds": round(time.perf_counter() - began, 1), "final_loss": sum(last) / len(last)}

    def positions(self, count: int) -> Iterator[Tensor]:
        """Yield the positions of each update."""
        for update in range(self.settings.updates):
            generator = torch.Generator().manual_seed(combine_seeds(self.settings.seed, update, 1))
            yield torch.randint(count, (self.settings.batch_size,), generator=generator)


def teach_autoencoder(pipe: Any, images: Examples, shown: Callable[[int, int, float], None]) -> dict[str, Any]:
    """Train the autoencoder on pictures in [0, 1]; its scaling factor makes the latents' deviation 1."""
    vae = pipe.vae

    def loss(positions: Tensor, generator: torch.Generator) -> Tensor:
        pixels = 2 * images.batch(positions).inputs - 1
        found = vae.encode(pixels).latent_dist
        noise = torch.randn(found.mean.shape, generator=generator)
        again = vae.decode(found.mean + found.std * noise).sample
        divergence = 0.5 * (found.mean.square() + found.var - 1 - found.logvar).mean()
        return mse_loss(again, pixels) + KL_WEIGHT * divergence

    told = Course((vae,), ENCODING, shown).run(images, loss)
    with torch.no_grad():
        some = 2 * images.batch(torch.arange(0, len(images), max(1, len(images) // 500))).inputs - 1
        latents = vae.encode(some).latent_dist.mean
        error = float(mse_loss(vae.decode(latents).sample, some))
    vae.register_to_config(scaling_factor=float(1 / latents.std()))
    return {**told, "kl_weight": KL_WEIGHT, "mean_squared_error": error, "scaling_factor": vae.config.scaling_factor}


@torch.no_grad()
def encoded(vae: Any, images: Examples) -> Tensor:
    """Return means and deviations of all latents, scaled, ``(n, 2, 4, 8, 8)``."""
    found = []
    for positions in torch.arange(len(images)).split(256):
        given = vae.encode(2 * images.batch(positions).inputs - 1).latent_dist
        found.append(torch.stack([given.mean, given.std], 1) * vae.config.scaling_factor)
    return torch.cat(found)


def teach_denoiser(pipe: Any, images: Examples, shown: Callable[[int, int, float], None]) -> dict[str, Any]:
    """Train text encoder and U-Net on captioned pictures, with some captions general and some left out."""
    latents, signal = encoded(pipe.vae, images), pipe.scheduler.alphas_cumprod
    tokens = pipe.tokenizer(list(PROMPTS), padding="max_length", return_tensors="pt").input_ids

    def loss(positions: Tensor, generator: torch.Generator) -> Tensor:
        mean, deviation = latents[positions].unbind(1)
        clean = mean + deviation * torch.randn(mean.shape, generator=generator)
        times = torch.randint(len(signal), (len(positions),), generator=generator)
        noise, left = torch.randn(mean.shape, generator=generator), signal[times].view(-1, 1, 1, 1)
        told = captions(images.targets[positions], generator)
        text = pipe.text_encoder(tokens)[0][told]
        sample = left.sqrt() * clean + (1 - left).sqrt() * noise
        return mse_loss(pipe.unet(sample, times, encoder_hidden_states=text).sample, noise)

    told = Course((pipe.text_encoder, pipe.unet), DENOISING, shown).run(images, loss)
    return {**told, "general_captions": GENERAL_SHARE}


def captions(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Return the numbers in ``PROMPTS`` of what the pictures are called: in full, by their style, or not at all."""
    luck = torch.rand(len(labels), generator=generator)
    general = len(CAPTIONS) + labels // len(CLASSES)
    named = torch.where(luck < DENOISING.label_dropout + GENERAL_SHARE, general, labels)
    return torch.where(luck < DENOISING.label_dropout, torch.full_like(labels, len(CAPTIONS) + len(STYLES)), named)
