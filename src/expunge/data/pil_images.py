"""Pillow images of every depth in 8-bit RGB."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from expunge.errors import DataError

_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
"""Tags of TIFF files."""


def to_upright_rgb(image: Any, name: str) -> Any:
    """Return a Pillow image in 8-bit RGB, turned upright as its EXIF data say.

    Gray values of 9 to 16 bits are scaled by their depth, which Pillow's own ``convert`` cuts off at 255. Transparency
    is dropped: every pixel shows the color that is stored.

    Examples:
        >>> from PIL import Image
        >>> to_upright_rgb(Image.fromarray(np.full((1, 1), 32896, np.uint16)), "a picture").getpixel((0, 0))
        (128, 128, 128)
    """
    white = _white_level(image, name)
    upright = import_module("PIL.ImageOps").exif_transpose(image)
    if white is not None:
        upright = import_module("PIL.Image").fromarray(_scale_to_uint8(np.asarray(upright), white, _is_inverted(image)))
    try:
        # Pillow warns of the transparent colors of a palette unless they are asked for.
        return (upright.convert("RGBA") if upright.mode == "P" else upright).convert("RGB")
    except ValueError as error:
        raise _depth_error(image, name) from error


def _white_level(image: Any, name: str) -> int | None:
    """Return the value of white where one has more than 8 bits, None where Pillow converts by itself."""
    if image.mode.startswith("I;16"):
        bits: int = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0]
        return int(2 ** min(16, bits)) - 1
    if image.mode == "I" and getattr(image, "format", None) in ("PNG", "PPM"):
        return 2**16 - 1
    if image.mode in ("I", "F"):
        raise _depth_error(image, name)
    return None


def _is_inverted(image: Any) -> bool:
    return bool(getattr(image, "tag_v2", {}).get(_PHOTOMETRIC, 1) == _WHITE_IS_ZERO)


def _scale_to_uint8(values: Any, white: int, inverted: bool) -> Any:
    scaled = (values.clip(0, white).astype(np.uint32) * 255 + white // 2) // white
    return (255 - scaled if inverted else scaled).astype(np.uint8)


def _depth_error(image: Any, name: str) -> DataError:
    kind = {"I": "32-bit gray", "F": "floating-point gray"}.get(image.mode, f"mode '{image.mode}'")
    return DataError("pictures of 8 or 16 bits", f"{kind} in {name}", "save it with 8 or 16 bits per channel")
