"""Images with what they were asked to show, checked and in one range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from expunge.batch import Examples
from expunge.data.tensor_examples import Normalize
from expunge.errors import ConfigError, DataError, NotFiniteError

RANGE_TOLERANCE = 0.01
"""How far, as a share of the range, a value may lie outside it (rounding of a sampler) and be clamped."""

ValueRange = tuple[float, float]
"""The values of black and of white: (0, 1), or (−1, 1) as diffusion models have it."""


@dataclass(frozen=True, eq=False)
class LabeledImages:
    """Images and the class that each shows, or was asked to show.

    Args:
        images: ``(n, c, h, w)`` with one or three channels, in ``span``; kept in [0, 1], float32, on the CPU.
        labels: Class of each image, ``(n,)``: the one asked for if it was generated, the true one if it is real.
        span: The values of black and of white.
        seeds: Seed of each generated image, ``(n,)``; none for real ones.

    Raises:
        ConfigError: If ``span`` is no range.
        DataError: If shapes or labels do not fit, or a value lies outside the range by more than a hundredth of it.
        NotFiniteError: If a value is NaN or infinite.

    Examples:
        >>> shown = LabeledImages(torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1), [3, 5], span=(-1, 1), seeds=[10, 11])
        >>> shown.images.flatten().tolist(), len(shown.select_classes([5])), len(shown.exclude_classes([3, 5]))
        ([0.0, 1.0], 1, 0)
    """

    images: Tensor
    labels: Any
    span: ValueRange
    seeds: Any = None

    def __post_init__(self) -> None:
        images = as_unit_images(self.images, self.span)
        labels = torch.as_tensor(self.labels).cpu()
        if labels.shape != images.shape[:1] or labels.is_floating_point() or (labels < 0).any():
            actual = f"{tuple(labels.shape)} of {labels.dtype} for {len(images)} images"
            raise DataError("one class from 0 up for each image", actual, "pass the classes that were asked for")
        seeds = None if self.seeds is None else torch.as_tensor(self.seeds).cpu()
        if seeds is not None and seeds.shape != labels.shape:
            actual = f"{tuple(seeds.shape)} for {len(images)} images"
            raise DataError("one seed for each image", actual, "pass the seed that each image was made with")
        values = {"images": images, "labels": labels.long(), "span": (0.0, 1.0), "seeds": seeds}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_examples(cls, examples: Examples) -> LabeledImages:
        """Return the images of real examples, their normalization undone.

        Args:
            examples: Of images; if they are normalized, by the ``scale`` of their data set.

        Raises:
            DataError: If they are no images, or not between 0 and 1 without the normalization.

        Examples:
            >>> from expunge.registry import find_component
            >>> test = find_component("readers", "digits")().test
            >>> LabeledImages.from_examples(test).images.max().item()
            1.0
            >>> float(test.batch(torch.arange(360)).inputs.max()) > 1
            True
        """
        batch = examples.batch(torch.arange(len(examples)))
        check_image_batch(batch.inputs)
        scale = getattr(getattr(examples, "root", examples), "scale", None)
        images = batch.inputs if scale is None else denormalize(batch.inputs, scale)
        return cls(images, batch.targets, (0.0, 1.0))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def select_classes(self, classes: Sequence[int]) -> LabeledImages:
        """Return the images whose class is one of ``classes``."""
        return self.select(torch.isin(self.labels, torch.tensor(list(classes))))

    def exclude_classes(self, classes: Sequence[int]) -> LabeledImages:
        """Return the images whose class is none of ``classes``."""
        return self.select(~torch.isin(self.labels, torch.tensor(list(classes))))

    def select(self, mask: Tensor) -> LabeledImages:
        """Return the images where the boolean ``mask``, ``(n,)``, is true."""
        seeds = None if self.seeds is None else self.seeds[mask]
        return LabeledImages(self.images[mask], self.labels[mask], (0.0, 1.0), seeds)

    def count_by_class(self) -> dict[str, int]:
        """Return class → number of images."""
        classes, counts = self.labels.unique(return_counts=True)
        return {str(one): count for one, count in zip(classes.tolist(), counts.tolist(), strict=True)}


def denormalize(values: Tensor, scale: Normalize) -> Tensor:
    """Return normalized values as they were before."""
    mean, deviation = (torch.tensor(part).view(1, -1, 1, 1) for part in (scale.mean, scale.std))
    return values * deviation + mean


def as_unit_images(images: Tensor, span: ValueRange) -> Tensor:
    """Return images in [0, 1], float32, on the CPU.

    Args:
        images: ``(n, c, h, w)`` with one or three channels.
        span: The values of black and of white.

    Raises:
        ConfigError: If ``span`` is no range.
        DataError: If the shape does not fit, or a value lies outside the range by more than a hundredth of it.
        NotFiniteError: If a value is NaN or infinite.

    Examples:
        >>> as_unit_images(torch.full((1, 1, 2, 2), 0.5), (-1, 1)).unique().tolist()
        [0.75]
    """
    low, high = span
    if not (isfinite(low) and isfinite(high) and low < high):
        raise ConfigError("the values of black and of white", f"{span}", "pass span=(0, 1) or span=(-1, 1)")
    check_image_batch(images)
    unit = (images.detach().float().cpu() - low) / (high - low)
    broken = int((~torch.isfinite(unit)).flatten(1).any(1).sum())
    if broken:
        actual = f"NaN or infinity in {broken} of {len(unit)}"
        raise NotFiniteError("finite images", actual, "the model that made them diverged; unlearn with a lower rate")
    if len(unit) and (unit.min() < -RANGE_TOLERANCE or unit.max() > 1 + RANGE_TOLERANCE):
        actual = f"values from {images.min():.3g} to {images.max():.3g}"
        raise DataError(f"images from {low:g} to {high:g}", actual, "clamp them, or name the span they have")
    return unit.clamp(0.0, 1.0)


def check_image_batch(images: Any) -> None:
    """Refuse what is no batch of gray or color images."""
    expected = "images (n, c, h, w) of floating point with 1 or 3 channels"
    if not isinstance(images, Tensor) or not images.is_floating_point():
        actual = f"{images.dtype}" if isinstance(images, Tensor) else type(images).__name__
        raise DataError(expected, actual, "pass a floating-point tensor and its span")
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape[2:]:
        raise DataError(expected, f"shape {tuple(images.shape)}", "stack the images of one size")
