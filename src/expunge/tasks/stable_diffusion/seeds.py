"""Seeds of images, and the noise that an image starts from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from expunge.errors import ConfigError


def expand_seeds(seeds: int | Sequence[int], count: int) -> Tensor:
    """Return a seed for each image, ``(count,)``.

    Examples:
        >>> expand_seeds(3, 2)
        tensor([3, 4])
    """
    if isinstance(seeds, int):
        return torch.arange(seeds, seeds + count)
    if len(seeds) != count:
        raise ConfigError(f"{count} seeds, one for each image", f"{len(seeds)}", "pass one for each, or a first one")
    return torch.tensor(list(seeds), dtype=torch.int64)


def draw_noise(shape: tuple[int, int, int], seeds: Tensor) -> Tensor:
    """Return normal noise for each seed, ``(n, channels, height, width)``, as diffusers draws it on the CPU."""
    generators = (torch.Generator().manual_seed(seed) for seed in seeds.tolist())
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators])
