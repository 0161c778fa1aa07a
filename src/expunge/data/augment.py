"""Augmentations of batches of images, pure functions of the images and a generator.

They are applied by whoever trains or unlearns, never by the data itself, so that evaluation sees each example as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from expunge.errors import DataError

Augment = Callable[[Any, Generator], Any]
"""Takes a batch of inputs and a generator and returns inputs of the same shape."""

_CROP_MARGIN = 4


def none(inputs: Any, generator: Generator) -> Any:
    """Return the inputs as they are; nothing is drawn.

    Examples:
        >>> images = torch.rand(2, 1, 8, 8)
        >>> none(images, torch.Generator()) is images
        True
    """
    return inputs


def crop_flip(inputs: Tensor, generator: Generator) -> Tensor:
    """Crop each image at random from a copy with a margin of 4 pixels, and mirror every second one on average.

    He et al., "Deep Residual Learning for Image Recognition", 2016, section 4.2. The margin is zero *after*
    normalization, which is the mean color of the data set (the paper leaves the color open; torchvision's usual order
    makes it black).

    Args:
        inputs: Images, ``(n, channels, height, width)``.
        generator: The source of all randomness, on any device.

    Returns:
        A new tensor of the same shape; ``inputs`` is unchanged.

    Raises:
        DataError: If the inputs are not a batch of images.

    Examples:
        >>> crop_flip(torch.rand(5, 3, 32, 32), torch.Generator().manual_seed(0)).shape
        torch.Size([5, 3, 32, 32])
    """
    if not isinstance(inputs, Tensor) or inputs.dim() != 4:
        actual = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
        raise DataError(
            "images (n, channels, height, width) to crop and flip", f"{actual}", "use the augmentation 'none'"
        )
    rows, columns = _draw_crop_indices(inputs, generator)
    padded = pad(inputs, (_CROP_MARGIN,) * 4)
    example = torch.arange(len(inputs), device=inputs.device)[:, None, None]
    return padded[example, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def _draw_crop_indices(inputs: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return which rows ``(n, height)`` and columns ``(n, width)`` of the padded image each crop shows."""
    count, _, height, width = inputs.shape

    def draw(high: int) -> Tensor:
        drawn = torch.randint(high, (count, 1), generator=generator, device=generator.device)
        return drawn.to(inputs.device, non_blocking=True)

    top, left, mirrored = draw(2 * _CROP_MARGIN + 1), draw(2 * _CROP_MARGIN + 1), draw(2).bool()
    across = torch.arange(width, device=inputs.device).expand(count, width)
    columns = left + torch.where(mirrored, across.flip(1), across)
    return top + torch.arange(height, device=inputs.device), columns
