"""The smallest Stable Diffusion pipeline that the libraries build, with a tokenizer of its own; untrained."""

from functools import cache

import pytest
import torch

from expunge.tasks.stable_diffusion.text_to_image import TextToImage

WORDS = ("a", "photo", "of", "cat", "dog", "car", "in", "the", "style", "van", "gogh", "red")
LIMIT, SIZE = 16, 8


def libraries():
    """Both libraries, or a skipped test."""
    reason = "is not installed (extra 'diffusion')"
    diffusers = pytest.importorskip("diffusers", reason=f"diffusers {reason}")
    return diffusers, pytest.importorskip("transformers", reason=f"transformers {reason}")


def tokenizer(transformers):
    """Whole words of ``WORDS``, other text letter by letter."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), ",</w>", ",", "<unk>"]
    merges = []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts = [parts[0] + parts[1], *parts[2:]]
            pieces.append(parts[0])
    merges = list(dict.fromkeys(merges))
    pieces = list(dict.fromkeys([*pieces, "<|startoftext|>", "<|endoftext|>"]))
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    made = transformers.CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LIMIT)
    assert len(made) == len(vocabulary)
    return made


def tiny_pipeline(seed=0, **changes):
    """A pipeline of 8×8 images in 4×4 latents, the same for the same seed."""
    diffusers, transformers = libraries()
    words = tokenizer(transformers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text = transformers.CLIPTextModel(
            transformers.CLIPTextConfig(
                vocab_size=len(words),
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=LIMIT,
                bos_token_id=words.bos_token_id,
                eos_token_id=words.eos_token_id,
                pad_token_id=words.pad_token_id,
            )
        )
        vae = diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 8),
            latent_channels=4,
            norm_num_groups=4,
            layers_per_block=1,
            sample_size=SIZE,
        )
        unet = diffusers.UNet2DConditionModel(
            sample_size=SIZE // 2,
            in_channels=4,
            out_channels=4,
            layers_per_block=1,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=2,
            norm_num_groups=4,
        )
    scheduler = diffusers.PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        steps_offset=1,
        set_alpha_to_one=False,
    )
    parts = {"vae": vae, "text_encoder": text, "tokenizer": words, "unet": unet, "scheduler": scheduler}
    extras = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return diffusers.StableDiffusionPipeline(**{**parts, **extras, **changes})


@cache
def _original():
    return TextToImage(tiny_pipeline())


def tiny_model(prompts=(), dtype=torch.float32):
    """A model of its own weights, told prompts."""
    import copy

    return copy.deepcopy(_original()).to(dtype).with_prompts(prompts)
