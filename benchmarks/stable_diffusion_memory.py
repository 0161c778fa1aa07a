"""The memory that unlearning in Stable Diffusion 1.x needs at its peak, from the sizes of its parts; no weights needed.

Run: python benchmarks/stable_diffusion_memory.py     (five minutes; writes docs/results/stable-diffusion-memory.json)

Tests compare the same estimate with what torch's profiler measures, on a tiny pipeline of the same classes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
import transformers
from torch import nn

from expunge.tasks.stable_diffusion.memory import OPTIMIZER_STATE_BYTES
from expunge.tasks.stable_diffusion.peak_memory import peak_memory
from expunge.tasks.stable_diffusion.trainable import train_only

OUTPUT = Path(__file__).parents[1] / "docs" / "results" / "stable-diffusion-memory.json"
TOKENS, WIDTH, FORM = 77, 768, (4, 64, 64)
SETTINGS: list[dict[str, Any]] = [
    {"part": "full", "batch": 1},
    {"part": "full", "batch": 8},
    {"part": "full", "batch": 8, "precision": "bf16"},
    {"part": "full", "batch": 8, "precision": "bf16", "checkpointing": True},
    {"part": "full", "batch": 8, "precision": "bf16", "checkpointing": True, "with": "adamw8bit"},
    {"part": "cross_attention", "batch": 8, "precision": "bf16"},
    {"part": "lora", "batch": 8, "precision": "bf16"},
    {"part": "lora", "batch": 1, "precision": "bf16", "checkpointing": True},
]
METHODS = ("eupmu", "lur", "eupmu + feasible(lenient)", "esd")


def stable_diffusion_1() -> SimpleNamespace:
    """Return what the estimate looks at, of tensors without memory."""
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(
            sample_size=64, cross_attention_dim=WIDTH, block_out_channels=(320, 640, 1280, 1280), attention_head_dim=8
        )
        words = transformers.CLIPTextConfig(
            vocab_size=49408, hidden_size=WIDTH, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
        )
        text = transformers.CLIPTextModel(words)
        vae = diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            latent_channels=4,
        )
    frozen = SimpleNamespace(parts={"text_encoder": text, "vae": vae})
    return SimpleNamespace(unet=unet, form=FORM, table=torch.empty(1, TOKENS, WIDTH), frozen=frozen)


def rows() -> list[dict[str, Any]]:
    """Return the estimate of every setting and method, in bytes."""
    found = []
    for setting in SETTINGS:
        model: Any = stable_diffusion_1()
        train_only(model.unet, setting["part"])
        if setting.get("checkpointing"):
            model.unet.enable_gradient_checkpointing()
        asked = {name: setting[name] for name in ("batch", "precision") if name in setting}
        for method in METHODS:
            estimate = peak_memory(model, method, **asked)
            if "with" in setting:
                # Named afterwards, so that the library of that optimiser need not be there.
                share = OPTIMIZER_STATE_BYTES[setting["with"]] / OPTIMIZER_STATE_BYTES["adamw"]
                estimate = replace(estimate, optimizer=round(estimate.optimizer * share))
            found.append({**setting, "method": method, **asdict(estimate), "total": estimate.total})
            print(setting, method, estimate, flush=True)
    return found


def weights(module: nn.Module) -> int:
    """Return the number of a module's weights."""
    return sum(weight.numel() for weight in module.parameters())


def main() -> None:
    """Estimate and write."""
    model = stable_diffusion_1()
    sizes = {"unet": weights(model.unet)} | {name: weights(part) for name, part in model.frozen.parts.items()}
    document = {"study": "stable-diffusion-memory", "weights": sizes, "torch": torch.__version__, "rows": rows()}
    OUTPUT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
