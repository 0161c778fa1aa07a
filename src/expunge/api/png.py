"""Pictures of examples as data URLs, without an imaging library."""

from __future__ import annotations

import base64
import struct
import zlib

import torch
from torch import Tensor

MIN_SIDE_PIXELS = 48


def to_data_url(image: Tensor) -> str:
    """Return an image as a PNG data URL, stretched to the full range and enlarged to at least 48 pixels a side.

    Args:
        image: Values of shape (1 or 3, height, width), in any range.

    Examples:
        >>> to_data_url(torch.rand(1, 8, 8))[:22]
        'data:image/png;base64,'
    """
    values = image.detach().float().cpu()
    low, high = values.min(), values.max()
    return to_png_url((values - low) / (high - low).clamp(min=1e-12))


def to_png_url(image: Tensor) -> str:
    """Return an image as a PNG data URL as it is, enlarged to at least 48 pixels a side.

    Args:
        image: Values of shape (1 or 3, height, width) in [0, 1].

    Examples:
        >>> to_png_url(torch.zeros(1, 8, 8)) == to_png_url(torch.ones(1, 8, 8))
        False
    """
    return "data:image/png;base64," + base64.b64encode(encode_png(enlarge(image, min(image.shape[1:])))).decode()


def enlarge(image: Tensor, side: int, min_side: int = MIN_SIDE_PIXELS) -> Tensor:
    """Return pixels of an image in [0, 1], each repeated until ``side`` fill ``min_side``, shape (height, width, c)."""
    factor = -(-min_side // side)
    pixels = (image.detach().float().cpu() * 255).round().to(torch.uint8)
    return pixels.repeat_interleave(factor, 1).repeat_interleave(factor, 2).permute(1, 2, 0).contiguous()


def encode_png(pixels: Tensor, description: str = "") -> bytes:
    """Return a PNG file of uint8 pixels, shape (height, width, 1 or 3), with a description that is not drawn."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + pixels[y].numpy().tobytes() for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    words = [(b"iTXt", b"Description\0\0\0\0\0" + description.encode())] if description else []
    chunks = ((b"IHDR", header), *words, (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(encode_chunk(name, body) for name, body in chunks)


def encode_chunk(name: bytes, body: bytes) -> bytes:
    """Return one chunk of a PNG file."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
