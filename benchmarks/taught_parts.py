"""A tiny Stable Diffusion pipeline, built from configurations, with a tokenizer made for a few words.

Not a script: ``tiny_stable_diffusion.py`` teaches it. Every part is of the class that the public models have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

START, END, SUFFIX = "<|startoftext|>", "<|endoftext|>", "</w>"
LENGTH = 16
"""Tokens of a prompt, start and end among them."""
WIDTH = 64
"""Numbers of a token's embedding."""


def joined(word: str) -> Iterator[tuple[str, str]]:
    """Yield the merges that make a word one token, from its first letter on."""
    pieces = [*word[:-1], word[-1] + SUFFIX]
    yield from zip(accumulate(pieces), pieces[1:], strict=False)


def tokenizer(words: Iterable[str]) -> CLIPTokenizer:
    """Return a byte-pair tokenizer to which each of the words is one token; all other text is spelt byte by byte.

    Examples:
        >>> made = tokenizer(["a", "sketch"])
        >>> made("A sketch", padding="do_not_pad").input_ids == made.convert_tokens_to_ids(
        ...     ["<|startoftext|>", "a</w>", "sketch</w>", "<|endoftext|>"]
        ... )
        True
    """
    alphabet = sorted(ByteLevel.alphabet())
    merges = list(dict.fromkeys(merge for word in sorted(set(words)) for merge in joined(word)))
    tokens = [*alphabet, *(letter + SUFFIX for letter in alphabet), *("".join(merge) for merge in merges), START, END]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    made = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH)
    # Some releases of transformers take a vocabulary of another form without a word and keep two tokens.
    if len(made) != len(vocabulary):
        raise RuntimeError(f"the tokenizer has {len(made)} tokens and not {len(vocabulary)}")
    return made


def text_encoder(words: CLIPTokenizer) -> CLIPTextModel:
    """Return a new text encoder of two layers."""
    settings = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    return CLIPTextModel(settings)


def autoencoder() -> AutoencoderKL:
    """Return a new autoencoder: pictures of 3 × 32 × 32, latents of 4 × 8 × 8."""
    widths = (8, 24, 48)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=32,
    )


def unet() -> UNet2DConditionModel:
    """Return a new denoising network with cross-attention at 8 × 8 and 4 × 4."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def pipeline(words: Iterable[str], seed: int = 0) -> StableDiffusionPipeline:
    """Return an untrained pipeline, without a safety checker, its weights drawn with the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = tokenizer(words)
        parts: dict[str, Any] = {"tokenizer": made, "text_encoder": text_encoder(made)}
        parts |= {"vae": autoencoder(), "unet": unet(), "scheduler": scheduler()}
    none = dict.fromkeys(("safety_checker", "feature_extractor", "image_encoder"))
    found: StableDiffusionPipeline = StableDiffusionPipeline(**parts, **none, requires_safety_checker=False)
    found.set_progress_bar_config(disable=True)
    return found


def scheduler() -> DDIMScheduler:
    """Return the noise schedule of Stable Diffusion 1.x."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
