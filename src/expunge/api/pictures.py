"""Pictures of examples as data URLs, without an imaging library."""

from __future__ import annotations

import base64
import struct
import zlib

import torch
from torch import Tensor

SMALLEST_SIDE = 48


def data_url(image: Tensor) -> str:
    """Return an image as a PNG data URL, stretched to the full range and enlarged to at least 48 pixels a side.

    Args:
        image: Values of shape (1 or 3, height, width), in any range.

    Examples:
        >>> data_url(torch.rand(1, 8, 8))[:22]
        'data:image/png;base64,'
    """
    values = image.detach().float().cpu()
    low, high = values.min(), values.max()
    return png_url((values - low) / (high - low).clamp(min=1e-12))


def png_url(image: Tensor) -> str:
    """Return an image as a PNG data URL as it is, enlarged to at least 48 pixels a side.

    Args:
        image: Values of shape (1 or 3, height, width) in [0, 1].

    Examples:
        >>> png_url(torch.zeros(1, 8, 8)) == png_url(torch.ones(1, 8, 8))
        False
    """
    return "data:image/png;base64," + base64.b64encode(png(enlarged(image, min(image.shape[1:])))).decode()


def enlarged(image: Tensor, side: int, least: int = SMALLEST_SIDE) -> Tensor:
    """Return pixels of an image in [0, 1], each repeated until ``side`` fill ``least``, shape (height, width, c)."""
    factor = -(-least // side)
    pixels = (image.detach().float().cpu() * 255).round().to(torch.uint8)
    return pixels.repeat_interleave(factor, 1).repeat_interleave(factor, 2).permute(1, 2, 0).contiguous()


def png(pixels: Tensor, description: str = "") -> bytes:
    """Return a PNG file of uint8 pixels, shape (height, width, 1 or 3), with a description that is not drawn."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + pixels[y].numpy().tobytes() for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    words = [(b"iTXt", b"Description\0\0\0\0\0" + description.encode())] if description else []
    chunks = ((b"IHDR", header), *words, (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, body) for name, body in chunks)


def chunk(name: bytes, body: bytes) -> bytes:
    """Return one chunk of a PNG file."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
