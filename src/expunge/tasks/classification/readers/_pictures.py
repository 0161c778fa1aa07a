"""Arrays of pictures: decoding with Pillow, normalisation, and what a reader makes of them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from expunge.data import Affine, Source, TensorExamples
from expunge.data.augment import Augment
from expunge.data.pictures import upright_rgb
from expunge.errors import DataError, ExpungeError, MissingExtraError

Pixels = NDArray[np.uint8]
"""Pictures ``(n, channels, height, width)``, or one of them."""

Labels = NDArray[np.int64]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MOST_PIXELS = 50_000_000
_BLOCK = 256
MOST_BYTES = 8 * 2**30


def optional(package: str, purpose: str, extra: str) -> ModuleType:
    """Return a module of an optional dependency.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingExtraError(purpose, package.split(".")[0], extra) from error


def damaged(path: Path, what: str, found: str) -> DataError:
    """Return the error for a file that is not what it should be."""
    return DataError(f"{what} in '{path.name}'", found, f"copy the file anew ('{path}')")


def check_size(size: int) -> None:
    """Refuse a size that is no whole number of pixels.

    Raises:
        DataError: If it is none.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise DataError("a size of at least 1 pixel", f"{size!r}", "choose a size such as 64")


def check_range(labels: Labels, names: Sequence[str], where: str) -> None:
    """Refuse a part of a data set that is empty or has a label without a name.

    Raises:
        DataError: If that is so.
    """
    if not len(labels):
        raise DataError(f"at least one picture in {where}", "none", "check how the data set was made")
    if int(labels.max()) >= len(names) or int(labels.min()) < 0:
        found = f"{int(labels.min())} to {int(labels.max())}"
        raise DataError(f"labels from 0 to {len(names) - 1} in {where}", found, "give every label a name")


def opened(data: bytes, name: str) -> Any:
    """Return a Pillow image, its size checked before a pixel is decoded.

    Args:
        data: The encoded picture.
        name: What to call it in an error.

    Raises:
        DataError: If it is not a picture, or an enormous one.
        MissingExtraError: If Pillow is not installed.
    """
    images = optional("PIL.Image", "reading pictures", "data")
    with _decoding(name):
        image = images.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > MOST_PIXELS:
        raise DataError(
            f"pictures of at most {MOST_PIXELS} pixels", f"{image.width} x {image.height} in {name}", "shrink it first"
        )
    return image


def exact(data: bytes, size: int, name: str) -> Pixels:
    """Return the pixels ``(3, size, size)`` of an encoded colour picture that must have that size.

    Raises:
        DataError: If it cannot be decoded, has another size, or values without a fixed range.
    """
    image = opened(data, name)
    if image.size != (size, size):
        raise DataError(f"{size} x {size} pixels", f"{image.width} x {image.height} in {name}", "copy the file anew")
    with _decoding(name):
        return _pixels(upright_rgb(image, name))


def fitted(image: Any, size: int, name: str) -> Pixels:
    """Return the pixels ``(3, size, size)`` of a picture's centre square, turned upright and scaled.

    Raises:
        DataError: If it cannot be decoded, or has values without a fixed range.
    """
    operations = optional("PIL.ImageOps", "reading pictures", "data")
    with _decoding(name):
        resampling = optional("PIL.Image", "", "data").Resampling.BILINEAR
        return _pixels(operations.fit(upright_rgb(image, name), (size, size), resampling))


def stacked(pictures: Iterable[Pixels], count: int, size: int) -> Pixels:
    """Return ``count`` colour pictures as one array, filled one by one.

    Raises:
        DataError: If they would take more memory than a reader may use.
    """
    if count * 3 * size * size > MOST_BYTES:
        raise DataError(
            f"pictures that fit into {MOST_BYTES >> 30} GiB",
            f"{count} of {size} x {size}",
            "choose a smaller size, or pass a map-style data set from Python, which is read item by item",
        )
    pixels = np.empty((count, 3, size, size), np.uint8)
    for position, picture in enumerate(pictures):
        pixels[position] = picture
    return pixels


def statistics(pixels: Pixels) -> Affine:
    """Return mean and standard deviation of each channel, with values between 0 and 1.

    Examples:
        >>> statistics(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1))
        Affine(mean=(0.5,), std=(0.5,))
    """
    tables = np.zeros((pixels.shape[1], 256), np.int64)
    for start in range(0, len(pixels), _BLOCK):  # bincount widens what it counts to 8 bytes
        block = pixels[start : start + _BLOCK].swapaxes(0, 1)
        tables += [np.bincount(channel.ravel(), minlength=256) for channel in block]
    values = np.arange(256) / 255
    means = [float(table @ values / table.sum()) for table in tables]
    spreads = [
        float(np.sqrt(table @ (values - mean) ** 2 / table.sum())) for table, mean in zip(tables, means, strict=True)
    ]
    return Affine(tuple(means), tuple(spread or 1.0 for spread in spreads))


def source(
    train: tuple[Pixels, Labels],
    test: tuple[Pixels, Labels],
    class_names: Sequence[str],
    *,
    name: str,
    licence: str,
    scale: Affine,
    augment: Augment | None = None,
) -> Source:
    """Return the source made of two arrays of pictures with their labels.

    Raises:
        DataError: If a label has no name, or there are no pictures.
    """
    names = tuple(class_names)

    def examples(pixels: Pixels, labels: Labels) -> TensorExamples:
        check_range(labels, names, name)
        return TensorExamples(torch.from_numpy(pixels), torch.from_numpy(labels), names, augment, scale=scale)

    channels, height, width = train[0].shape[1:]
    return Source(examples(*train), examples(*test), names, name, licence, (channels, height, width))


def _pixels(image: Any) -> Pixels:
    return np.asarray(image, np.uint8).transpose(2, 0, 1)


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises over somebody's bytes into one sentence, and its warning of a bomb too.

    Raises:
        DataError: If it raises something.
    """
    bomb = optional("PIL.Image", "reading pictures", "data").DecompressionBombWarning
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", bomb)
            yield
    except ExpungeError:
        raise
    except Exception as error:
        cure = "replace it, or leave it out"
        raise DataError("a picture that can be decoded", f"{type(error).__name__} in {name}", cure) from error
