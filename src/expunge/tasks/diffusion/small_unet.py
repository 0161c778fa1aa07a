"""A small denoising network with classes, for images of 8 to 32 pixels."""

from __future__ import annotations

from collections.abc import Sequence

from expunge.errors import ConfigError
from expunge.tasks.diffusion.ddpm import DDPM
from expunge.tasks.diffusion.optional import import_diffusers

WIDTHS = {8: (16, 32), 16: (24, 48, 64), 28: (16, 32, 64), 32: (32, 48, 80)}
"""Channels of each resolution by size of the images."""
NUM_GROUPS = 8


def small_ddpm(
    size: int, channels: int = 1, classes: int = 10, widths: Sequence[int] | None = None, steps: int = 1000
) -> DDPM:
    """Return a new class-conditional model with a null class, its weights drawn from the global generator.

    The network is diffusers' ``UNet2DModel``: one residual block at each resolution, group normalization, no attention.
    It has 160 thousand weights at 8×8, 620 thousand at 28×28 and 1.1 million at 32×32.
    """
    widths = tuple(widths or WIDTHS.get(size, ()))
    if not widths or any(width % NUM_GROUPS for width in widths) or size % 2 ** (len(widths) - 1):
        expected = f"widths, multiples of {NUM_GROUPS}, of which each but the first halves the size"
        raise ConfigError(expected, f"{widths or 'none'} for images of {size} pixels", "pass widths=(16, 32)")
    library = import_diffusers("diffusion models")
    unet = library.UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=1,
        block_out_channels=widths,
        down_block_types=("DownBlock2D",) * len(widths),
        up_block_types=("UpBlock2D",) * len(widths),
        add_attention=False,
        norm_num_groups=NUM_GROUPS,
        num_class_embeds=classes + 1,
    )
    return DDPM(unet, library.DDPMScheduler(num_train_timesteps=steps)).eval()
