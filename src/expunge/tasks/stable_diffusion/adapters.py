"""Adapters: low-rank changes beside the weights of a U-Net, which can be merged, switched and saved alone."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import nn

from expunge.errors import CheckpointError, ConfigError, ModelError
from expunge.optional import import_optional
from expunge.tasks.diffusion.folders import atomic_folder
from expunge.tasks.pretrained import check_pretrained

AdapterLayers = Literal["cross_attention", "attention", "all"]
ADAPTER_NAME = "expunge"
"""What adapters are called inside of a U-Net."""
ADAPTER_FILE = "pytorch_lora_weights.safetensors"
"""diffusers' name of an adapter's file."""
PURPOSE = "adapters"

ATTENTION_PATTERN = r"\.(to_q|to_k|to_v|to_out\.0)$"
LAYER_PATTERNS = {
    "cross_attention": rf".*\.attn2{ATTENTION_PATTERN}",
    "attention": rf".*\.attn[12]{ATTENTION_PATTERN}",
    "all": rf".*(\.attn[12]{ATTENTION_PATTERN}|\.proj_in$|\.proj_out$|\.ff\.net\.0\.proj$|\.ff\.net\.2$|\.conv[12]$)",
}
"""Layers → the names of their modules in diffusers' U-Nets, as a regular expression."""


def add_adapter(unet: nn.Module, rank: int = 1, layers: AdapterLayers = "cross_attention") -> None:
    """Put a low-rank adapter beside a U-Net's weights, and let it alone be trained.

    Formula: W x becomes W x + s B A x with A (rank × in) normal and B (out × rank) zero, so that nothing changes at
    first; s is the strength, 1 in training. Rank 1 is the adapter of SPM.

    Paper: "LoRA: Low-Rank Adaptation of Large Language Models" (Hu et al., ICLR 2022, arXiv 2106.09685); rank 1:
    "One-Dimensional Adapter to Rule Them All" (SPM; Lyu et al., CVPR 2024, arXiv 2312.16145).
    """
    if rank < 1 or layers not in LAYER_PATTERNS:
        raise ConfigError(f"rank ≥ 1 and layers {', '.join(LAYER_PATTERNS)}", f"{rank} and '{layers}'", "change them")
    if has_adapter(unet):
        raise ConfigError("a U-Net without an adapter", "one that has one", "merge it first, see merge_adapter")
    peft: Any = import_optional("peft", PURPOSE, "diffusion")
    config = peft.LoraConfig(
        r=rank, lora_alpha=rank, target_modules=LAYER_PATTERNS[layers], init_lora_weights="gaussian"
    )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            unet.add_adapter(config, ADAPTER_NAME)  # type: ignore[operator]
    except ValueError as error:
        raise ModelError(f"a U-Net with layers of {layers}", "none", "choose other layers") from error
    for name, weight in unet.named_parameters():
        weight.requires_grad_(f".{ADAPTER_NAME}." in name)


def has_adapter(unet: nn.Module) -> bool:
    """Return whether there is an adapter beside a U-Net's weights."""
    return any(f".{ADAPTER_NAME}." in name for name, _ in unet.named_parameters())


def set_adapter_strength(unet: nn.Module, strength: float) -> None:
    """Set how strongly an adapter acts: 0 switches it off, 1 is as trained.

    Lyu et al. (2024) infer with 1; the EUPMU authors with 1.6 for a style and 1.2 for an instance.

    Args:
        unet: The U-Net, changed in place; its weights stay.
        strength: s, any finite number.

    Raises:
        ModelError: If there is no adapter.
    """
    check_has_adapter(unet)
    unet.set_adapters([ADAPTER_NAME], weights=[float(strength)])  # type: ignore[operator]


def merge_adapter(unet: nn.Module) -> None:
    """Add an adapter at its present strength to the weights beneath, and take its layers away; in place."""
    check_has_adapter(unet)
    unet.fuse_lora()  # type: ignore[operator]
    unet.unload_lora()  # type: ignore[operator]
    unet.requires_grad_(True)


def merge_adapter_copy(unet: nn.Module) -> nn.Module:
    """Return a U-Net of plain layers: itself, or a copy with its adapter merged."""
    if not has_adapter(unet):
        return unet
    merged_unet = copy.deepcopy(unet)
    merge_adapter(merged_unet)
    return merged_unet


def save_adapter(model: Any, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write an adapter alone, in the layout that ``load_lora_weights`` of diffusers' pipelines reads.

    Its strength is not written: it is read with strength 1.

    Args:
        model: A ``TextToImage`` with an adapter.
        folder: Where; it must not be there.
        overwrite: Whether a folder of that name may be replaced. Default false.

    Raises:
        ModelError: If there is no adapter.
        CheckpointError: If the folder is there and may not be replaced.
    """
    check_has_adapter(model.unet)
    weights = import_optional("peft", PURPOSE, "diffusion").get_peft_model_state_dict(
        model.unet, adapter_name=ADAPTER_NAME
    )
    with atomic_folder(Path(folder), overwrite=overwrite) as temporary:
        model.frozen_components.pipeline_class.save_lora_weights(
            temporary, unet_lora_layers=weights, safe_serialization=True
        )
    return Path(folder)


def load_adapter(model: Any, folder: str | os.PathLike[str]) -> None:
    """Put an adapter that was saved alone beside a model's weights; it alone can then be trained."""
    if has_adapter(model.unet):
        raise ConfigError("a U-Net without an adapter", "one that has one", "merge it first, see merge_adapter")
    import_optional("peft", PURPOSE, "diffusion")
    hint = "pass a folder that save_adapter has written, of an adapter for this model"
    if not (Path(folder) / ADAPTER_FILE).is_file():
        raise CheckpointError(f"a file '{ADAPTER_FILE}' in '{folder}'", "none", hint)
    check_pretrained(Path(folder))
    try:
        model.pipeline.load_lora_weights(
            str(folder),
            weight_name=ADAPTER_FILE,
            adapter_name=ADAPTER_NAME,
            use_safetensors=True,
            local_files_only=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        if has_adapter(model.unet):
            model.unet.unload_lora()
        raise CheckpointError(f"an adapter in '{folder}'", type(error).__name__, hint) from error
    for name, weight in model.unet.named_parameters():
        weight.requires_grad_(f".{ADAPTER_NAME}." in name)


def check_has_adapter(unet: nn.Module) -> None:
    """Refuse a U-Net without an adapter."""
    if not has_adapter(unet):
        raise ModelError("a model with an adapter", "none", "add one: model.set_trainable('lora')")
