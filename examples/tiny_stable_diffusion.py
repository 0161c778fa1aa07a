"""Teach a tiny Stable Diffusion pipeline to draw clothes from captions, so that it can be made to forget some.

    python examples/tiny_stable_diffusion.py --data-dir DATA     (a quarter of an hour on two cores)
    expunge run examples/tiny-stable-diffusion.yaml

Five kinds of clothes of Fashion-MNIST, each as a photograph and as a sketch. The pipeline has every part of Stable
Diffusion 1.x, of the same classes and some thousand times smaller: tokenizer, text encoder, autoencoder, U-Net and
noise schedule. It is written in the layout of ``save_pretrained``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from expunge.batch import Examples
from expunge.data import Subset, TensorExamples
from expunge.engine import ModelEMA, combine_seeds
from expunge.registry import find_component
from expunge.tasks.diffusion.evaluation import LabeledImages
from expunge.tasks.diffusion.training import DiffusionTrainSettings

CLASSES = {"trouser": 1, "dress": 3, "sandal": 5, "bag": 8, "boot": 9}
"""Word of a caption → label in the data set."""
STYLES = ("photo", "sketch")
CAPTIONS = tuple(f"a {style} of a {name}" for style in STYLES for name in CLASSES)
GENERAL = tuple(f"a {style} of clothing" for style in STYLES)
"""Captions that say the style alone."""
PROMPTS = (*CAPTIONS, *GENERAL, "")
SIZE = 32
PHOTOGRAPHS = 2500
"""Of each class."""
START, END, SUFFIX = "<|startoftext|>", "<|endoftext|>", "</w>"
PROMPT_TOKENS, WIDTH = 16, 64
"""Tokens of a prompt, start and end among them, and the numbers of a token's embedding."""
AUTOENCODER = DiffusionTrainSettings(updates=2000, batch_size=32, lr=3e-3, warmup_updates=100, ema_decay=0.99)
DENOISER = DiffusionTrainSettings(updates=2800, batch_size=64, lr=2e-3, warmup_updates=200, ema_decay=0.998)
KL_WEIGHT = 1e-4
"""Of the Kullback–Leibler divergence of a latent's distribution from a normal one, mean over its numbers."""
GENERAL_SHARE = 0.1
"""Share of pictures whose caption says the style alone."""

# Pictures


def sketch(photos: Tensor) -> Tensor:
    """Return sketches ``(n, 1, h, w)`` of photographs in [0, 1]: white less the length of the Sobel gradient."""
    rows = torch.tensor([[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -1.0]]) / 4
    filters = torch.stack([rows, rows.T]).unsqueeze(1)
    slopes = functional.conv2d(functional.pad(photos, (1, 1, 1, 1)), filters)
    return 1 - (1.5 * slopes.square().sum(1, keepdim=True).sqrt()).clamp(0, 1)


def load_pictures(data_dir: Path | None, each: int) -> TensorExamples:
    """Return pictures in [0, 1] with the numbers of their captions: so many of each class, in both styles."""
    whole: Examples = find_component("readers", "fashion_mnist")(data_dir).train
    chosen = [(whole.targets == label).nonzero().flatten()[:each] for label in CLASSES.values()]
    images = LabeledImages.from_examples(Subset(whole, torch.cat(chosen))).images
    photos = functional.pad(images, ((SIZE - images.shape[-1]) // 2,) * 4)
    both = torch.cat([photos, sketch(photos)]).expand(-1, 3, -1, -1)
    return TensorExamples(both, torch.arange(len(CAPTIONS)).repeat_interleave(each))


# The pipeline


def merge_letters(word: str) -> Iterator[tuple[str, str]]:
    """Yield the merges that make a word one token, from its first letter on."""
    pieces = [*word[:-1], word[-1] + SUFFIX]
    yield from zip(accumulate(pieces), pieces[1:], strict=False)


def build_tokenizer(words: Iterable[str]) -> CLIPTokenizer:
    """Return a byte-pair tokenizer to which each of the words is one token; all other text is spelt byte by byte."""
    alphabet = sorted(ByteLevel.alphabet())
    merges = list(dict.fromkeys(merge for word in sorted(set(words)) for merge in merge_letters(word)))
    tokens = [*alphabet, *(letter + SUFFIX for letter in alphabet), *("".join(merge) for merge in merges), START, END]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=PROMPT_TOKENS)
    # Some releases of transformers take a vocabulary of another form without a word and keep two tokens.
    if len(tokenizer) != len(vocabulary):
        raise RuntimeError(f"the tokenizer has {len(tokenizer)} tokens and not {len(vocabulary)}")
    return tokenizer


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Return a new text encoder of two layers."""
    settings = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=PROMPT_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(settings)


def build_autoencoder() -> AutoencoderKL:
    """Return a new autoencoder: pictures of 3 × 32 × 32, latents of 4 × 8 × 8."""
    widths = (8, 24, 48)
    return AutoencoderKL(
        latent_channels=4,
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=SIZE,
    )


def build_unet() -> UNet2DConditionModel:
    """Return a new denoising network with cross-attention at 8 × 8 and 4 × 4."""
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def build_scheduler() -> DDIMScheduler:
    """Return the noise schedule of Stable Diffusion 1.x."""
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    return DDIMScheduler(1000, **betas, clip_sample=False, set_alpha_to_one=False, steps_offset=1)


def build_pipeline(seed: int = 0) -> StableDiffusionPipeline:
    """Return an untrained pipeline, without a safety checker, its weights drawn with the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tokenizer = build_tokenizer(word for caption in PROMPTS for word in caption.split())
        parts: dict[str, Any] = {"tokenizer": tokenizer, "text_encoder": build_text_encoder(tokenizer)}
        parts |= {"vae": build_autoencoder(), "unet": build_unet(), "scheduler": build_scheduler()}
    none = dict.fromkeys(("safety_checker", "feature_extractor", "image_encoder"))
    pipeline: StableDiffusionPipeline = StableDiffusionPipeline(**parts, **none, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


# Training


def train(
    modules: tuple[nn.Module, ...],
    settings: DiffusionTrainSettings,
    examples: int,
    loss_of: Callable[[Tensor, torch.Generator], Tensor],
) -> None:
    """Train by AdamW with warm-up and cosine decay, clipping and averaged weights; end in evaluation mode.

    Args:
        modules: What is trained.
        settings: How.
        examples: How many there are.
        loss_of: Takes positions of examples and a generator.
    """
    weights = [weight for module in modules for weight in module.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=settings.lr, weight_decay=0.0)
    average = ModelEMA(weights, settings.ema_decay)
    for module in modules:
        module.train()
    for update in range(settings.updates):
        draw, noise = (torch.Generator().manual_seed(combine_seeds(settings.seed, update, part)) for part in (1, 2))
        optimizer.param_groups[0]["lr"] = settings.lr_at(update)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(torch.randint(examples, (settings.batch_size,), generator=draw), noise)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, settings.max_grad_norm)
        optimizer.step()
        average.update(weights)
        if (update + 1) % 200 == 0:
            print(f"  {update + 1} of {settings.updates}: loss {loss.item():.4f}", flush=True)
    average.copy_to(weights)
    for module in modules:
        module.eval()


def train_autoencoder(pipeline: Any, images: Examples, settings: DiffusionTrainSettings = AUTOENCODER) -> None:
    """Train the autoencoder on pictures in [0, 1]; its scaling factor makes the latents' deviation 1."""
    vae = pipeline.vae

    def loss(positions: Tensor, generator: torch.Generator) -> Tensor:
        pixels = 2 * images.batch(positions).inputs - 1
        latent = vae.encode(pixels).latent_dist
        noise = torch.randn(latent.mean.shape, generator=generator)
        decoded = vae.decode(latent.mean + latent.std * noise).sample
        divergence = 0.5 * (latent.mean.square() + latent.var - 1 - latent.logvar).mean()
        return functional.mse_loss(decoded, pixels) + KL_WEIGHT * divergence

    train((vae,), settings, len(images), loss)
    some = torch.arange(0, len(images), max(1, len(images) // 500))
    with torch.no_grad():
        latents = vae.encode(2 * images.batch(some).inputs - 1).latent_dist.mean
    vae.register_to_config(scaling_factor=float(1 / latents.std()))


@torch.no_grad()
def encode(vae: Any, images: Examples) -> Tensor:
    """Return means and deviations of all latents, scaled, ``(n, 2, 4, 8, 8)``."""
    parts = []
    for positions in torch.arange(len(images)).split(256):
        latent = vae.encode(2 * images.batch(positions).inputs - 1).latent_dist
        parts.append(torch.stack([latent.mean, latent.std], 1) * vae.config.scaling_factor)
    return torch.cat(parts)


def train_denoiser(pipeline: Any, images: Examples, settings: DiffusionTrainSettings = DENOISER) -> None:
    """Train text encoder and U-Net on captioned pictures, with some captions general and some left out."""
    latents, signal = encode(pipeline.vae, images), pipeline.scheduler.alphas_cumprod
    tokens = pipeline.tokenizer(list(PROMPTS), padding="max_length", return_tensors="pt").input_ids

    def loss(positions: Tensor, generator: torch.Generator) -> Tensor:
        mean, deviation = latents[positions].unbind(1)
        clean = mean + deviation * torch.randn(mean.shape, generator=generator)
        times = torch.randint(len(signal), (len(positions),), generator=generator)
        noise, left = torch.randn(mean.shape, generator=generator), signal[times].view(-1, 1, 1, 1)
        text = pipeline.text_encoder(tokens)[0][draw_captions(images.targets[positions], generator)]
        sample = left.sqrt() * clean + (1 - left).sqrt() * noise
        return functional.mse_loss(pipeline.unet(sample, times, encoder_hidden_states=text).sample, noise)

    train((pipeline.text_encoder, pipeline.unet), settings, len(images), loss)


def draw_captions(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Return the numbers in ``PROMPTS`` of what the pictures are called: in full, by their style, or not at all."""
    luck = torch.rand(len(labels), generator=generator)
    general = len(CAPTIONS) + labels // len(CLASSES)
    named = torch.where(luck < DENOISER.label_dropout + GENERAL_SHARE, general, labels)
    return torch.where(luck < DENOISER.label_dropout, torch.full_like(labels, len(PROMPTS) - 1), named)


def main() -> None:
    """Train the pipeline and save it; one that is there already is left as it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, help="folder of the data sets")
    parser.add_argument("--out", type=Path, default=Path("expunge-demo-stable-diffusion"), help="where it is saved")
    options = parser.parse_args()
    if (options.out / "model_index.json").exists():
        print(f"{options.out} has a pipeline already")
        return
    images, pipeline = load_pictures(options.data_dir, PHOTOGRAPHS), build_pipeline()
    print("Training the autoencoder")
    train_autoencoder(pipeline, images)
    print("Training text encoder and U-Net")
    train_denoiser(pipeline, images)
    pipeline.save_pretrained(options.out)
    print(f"Saved {options.out}")


if __name__ == "__main__":
    main()
