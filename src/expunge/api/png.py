"""Pictures of examples as PNG files and data URLs."""

from __future__ import annotations

import base64
import io

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

MIN_SIDE_PIXELS = 48


def to_data_url(image: Tensor) -> str:
    """Return an image as a PNG data URL, stretched to the full range and enlarged to at least 48 pixels a side.

    Examples:
        >>> to_data_url(torch.rand(1, 8, 8))[:22]
        'data:image/png;base64,'
    """
    values = image.detach().float().cpu()
    low, high = values.min(), values.max()
    return to_png_url((values - low) / (high - low).clamp(min=1e-12))


def to_png_url(image: Tensor) -> str:
    """Return an image as a PNG data URL as it is, enlarged to at least 48 pixels a side.

    Examples:
        >>> to_png_url(torch.zeros(1, 8, 8)) == to_png_url(torch.ones(1, 8, 8))
        False
    """
    return "data:image/png;base64," + base64.b64encode(encode_png(enlarge(image, min(image.shape[1:])))).decode()


def enlarge(image: Tensor, side: int, min_side: int = MIN_SIDE_PIXELS) -> Image.Image:
    """Return an image in [0, 1] as a picture, each pixel repeated until ``side`` fill ``min_side``."""
    factor = -(-min_side // side)
    pixels = (image.detach().float().cpu() * 255).round().to(torch.uint8).permute(1, 2, 0).squeeze(2)
    height, width = pixels.shape[:2]
    picture = Image.fromarray(pixels.contiguous().numpy())
    return picture.resize((width * factor, height * factor), Image.Resampling.NEAREST)


def encode_png(picture: Image.Image, description: str = "") -> bytes:
    content, words = io.BytesIO(), PngInfo()
    if description:
        words.add_itxt("Description", description)
    picture.save(content, "PNG", pnginfo=words, optimize=True)
    return content.getvalue()
