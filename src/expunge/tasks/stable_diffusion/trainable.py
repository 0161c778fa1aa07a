"""Which weights of a U-Net may change: all, those that read the prompt, or a small adapter."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

from expunge.errors import ConfigError, ModelError
from expunge.tasks.stable_diffusion.adapters import AdapterLayers, add_adapter, has_adapter

TrainablePart = Literal["full", "cross_attention", "lora"]
CROSS_ATTENTION_KEY = ".attn2."
"""What the names of cross-attention's weights have in common in diffusers' U-Nets."""


def train_only(unet: nn.Module, part: str, rank: int = 1, layers: AdapterLayers = "cross_attention") -> None:
    """Let one part of a U-Net be trained and hold everything else."""
    if part not in get_args(TrainablePart):
        raise ConfigError(f"a part to train ({', '.join(get_args(TrainablePart))})", f"'{part}'", "choose one of them")
    if part == "lora":
        add_adapter(unet, rank, layers)
        return
    if has_adapter(unet):
        raise ConfigError("a U-Net without an adapter", "one that has one", "merge it first, see merge_adapter")
    chosen = [name for name, _ in unet.named_parameters() if part == "full" or CROSS_ATTENTION_KEY in name]
    if not chosen:
        raise ModelError("a U-Net with cross-attention", "none", "train it in full")
    for name, weight in unet.named_parameters():
        weight.requires_grad_(name in chosen)
