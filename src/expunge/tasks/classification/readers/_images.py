"""Arrays of pictures: decoding with Pillow, normalization, and what a reader makes of them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from expunge.data import LabeledDataset, Normalize, TensorExamples
from expunge.data.augment import Augment
from expunge.data.pil_images import to_upright_rgb
from expunge.errors import DataError, ExpungeError
from expunge.optional import import_optional

Pixels = NDArray[np.uint8]
"""Pictures ``(n, channels, height, width)``, or one of them."""

Labels = NDArray[np.int64]

IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MAX_PIXELS = 50_000_000
_BLOCK_SIZE = 256
MAX_BYTES = 8 * 2**30


def corrupt_file_error(path: Path, expected: str, actual: str) -> DataError:
    return DataError(f"{expected} in '{path.name}'", actual, f"copy the file anew ('{path}')")


def check_size(size: int) -> None:
    """Refuse a size that is no whole number of pixels."""
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise DataError("a size of at least 1 pixel", f"{size!r}", "choose a size such as 64")


def check_label_range(labels: Labels, names: Sequence[str], where: str) -> None:
    """Refuse a part of a data set that is empty or has a label without a name."""
    if not len(labels):
        raise DataError(f"at least one picture in {where}", "none", "check how the data set was made")
    if int(labels.max()) >= len(names) or int(labels.min()) < 0:
        actual = f"{int(labels.min())} to {int(labels.max())}"
        raise DataError(f"labels from 0 to {len(names) - 1} in {where}", actual, "give every label a name")


def open_image(data: bytes, name: str) -> Any:
    """Return a Pillow image, its size checked before a pixel is decoded."""
    pillow = import_optional("PIL.Image", "reading pictures", "data")
    with _decoding(name):
        image = pillow.open(io.BytesIO(data), formats=IMAGE_FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise DataError(
            f"pictures of at most {MAX_PIXELS} pixels", f"{image.width} x {image.height} in {name}", "shrink it first"
        )
    return image


def decode_exact(data: bytes, size: int, name: str) -> Pixels:
    """Return the pixels ``(3, size, size)`` of an encoded color picture that must have that size."""
    image = open_image(data, name)
    if image.size != (size, size):
        raise DataError(f"{size} x {size} pixels", f"{image.width} x {image.height} in {name}", "copy the file anew")
    with _decoding(name):
        return _to_pixels(to_upright_rgb(image, name))


def center_crop_resize(image: Any, size: int, name: str) -> Pixels:
    """Return the pixels ``(3, size, size)`` of a picture's center square, turned upright and scaled."""
    operations = import_optional("PIL.ImageOps", "reading pictures", "data")
    with _decoding(name):
        resampling = import_optional("PIL.Image", "", "data").Resampling.BILINEAR
        return _to_pixels(operations.fit(to_upright_rgb(image, name), (size, size), resampling))


def stack_images(images: Iterable[Pixels], count: int, size: int) -> Pixels:
    """Return ``count`` color pictures as one array, filled one by one."""
    if count * 3 * size * size > MAX_BYTES:
        raise DataError(
            f"pictures that fit into {MAX_BYTES >> 30} GiB",
            f"{count} of {size} x {size}",
            "choose a smaller size, or pass a map-style data set from Python, which is read item by item",
        )
    pixels = np.empty((count, 3, size, size), np.uint8)
    for position, image in enumerate(images):
        pixels[position] = image
    return pixels


def compute_normalization(pixels: Pixels) -> Normalize:
    """Return mean and standard deviation of each channel, with values between 0 and 1.

    Examples:
        >>> compute_normalization(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1))
        Normalize(mean=(0.5,), std=(0.5,))
    """
    tables = np.zeros((pixels.shape[1], 256), np.int64)
    for start in range(0, len(pixels), _BLOCK_SIZE):  # bincount widens what it counts to 8 bytes
        block = pixels[start : start + _BLOCK_SIZE].swapaxes(0, 1)
        tables += [np.bincount(channel.ravel(), minlength=256) for channel in block]
    values = np.arange(256) / 255
    means = [float(table @ values / table.sum()) for table in tables]
    deviations = [
        float(np.sqrt(table @ (values - mean) ** 2 / table.sum())) for table, mean in zip(tables, means, strict=True)
    ]
    return Normalize(tuple(means), tuple(spread or 1.0 for spread in deviations))


def build_dataset(
    train: tuple[Pixels, Labels],
    test: tuple[Pixels, Labels],
    class_names: Sequence[str],
    *,
    name: str,
    license_terms: str,
    scale: Normalize,
    augment: Augment | None = None,
) -> LabeledDataset:
    """Return the source made of two arrays of pictures with their labels."""
    names = tuple(class_names)

    def examples(pixels: Pixels, labels: Labels) -> TensorExamples:
        check_label_range(labels, names, name)
        return TensorExamples(torch.from_numpy(pixels), torch.from_numpy(labels), names, augment, scale=scale)

    channels, height, width = train[0].shape[1:]
    return LabeledDataset(examples(*train), examples(*test), names, name, license_terms, (channels, height, width))


def _to_pixels(image: Any) -> Pixels:
    return np.asarray(image, np.uint8).transpose(2, 0, 1)


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises over somebody's bytes into one sentence, and its warning of a bomb too."""
    bomb = import_optional("PIL.Image", "reading pictures", "data").DecompressionBombWarning
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", bomb)
            yield
    except ExpungeError:
        raise
    except Exception as error:
        hint = "replace it, or leave it out"
        raise DataError("a picture that can be decoded", f"{type(error).__name__} in {name}", hint) from error
