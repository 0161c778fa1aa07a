"""Pictures that several models make of the same requests with the same seeds, side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from expunge.api.generative.captions import add_captions
from expunge.api.png import encode_png, enlarge, to_png_url
from expunge.errors import DataError, ExpungeError
from expunge.tasks.diffusion.evaluation import as_unit_images
from expunge.weights import atomic_write

STILL_CONTAINS_DATA = "The grid of pictures, which shows what the original makes of a request for the forgotten."
"""What ``holds_data`` says where a grid has a row of the original."""
PADDING = 2
"""Pixels between pictures, before they are enlarged."""
MIN_LABELED_SIDE = 96
"""Pixels that a picture's shorter side has at least where words stand above it."""


class GridSampler(Protocol):
    """What a grid asks of a model: an image for each request and seed, the same again for the same seeds."""

    def __call__(self, asked: Sequence[Any], seeds: Sequence[int]) -> Tensor:
        """Return images ``(n, c, h, w)``, one for each pair of request (class or prompt) and seed."""
        ...


@dataclass(frozen=True, eq=False)
class SampleGrid:
    """Rows of pictures.

    Args:
        title: What is shown.
        columns: Head of each column: what was asked for, and the seed.
        rows: Label of a model → its images ``(columns, c, h, w)`` in [0, 1].
    """

    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, Tensor]

    def as_dict(self) -> dict[str, Any]:
        """Return the grid as an element of ``grids`` in a request of a result document."""
        lines = [{"label": label, "images": [to_png_url(one) for one in images]} for label, images in self.rows.items()]
        return {"title": self.title, "columns": list(self.columns), "rows": lines}

    def png(self) -> bytes:
        """Return the grid as one PNG file; its description (in the file, not drawn) names rows and columns."""
        return encode_png(enlarge(self.image, self.image_side), self.description)

    def png_with_labels(self) -> bytes:
        """Return the grid as one PNG file with its title, rows and columns written around the pictures.

        Long labels are cut there; the description in the file has all of them.
        """
        pixels = enlarge(self.image, self.image_side, MIN_LABELED_SIDE)
        padding = PADDING * (-(-MIN_LABELED_SIDE // self.image_side))
        return encode_png(add_captions(pixels, self.title, tuple(self.rows), self.columns, padding), self.description)

    @property
    def image(self) -> Tensor:
        """All pictures as one, ``(c, h, w)`` in [0, 1]."""
        drawn = [torch.cat(list(add_padding(images)), 2) for images in self.rows.values()]
        return torch.cat(drawn, 1)[:, PADDING:, PADDING:]

    @property
    def description(self) -> str:
        """What the grid shows, in a sentence each for title, rows and columns."""
        return f"{self.title}. Rows: {'; '.join(self.rows)}. Columns: {'; '.join(self.columns)}."

    @property
    def image_side(self) -> int:
        """The shorter side of one picture in pixels."""
        return min(next(iter(self.rows.values())).shape[2:])

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the grid with its labels as a PNG file, whole or not at all; an older file is replaced.

        Raises:
            CheckpointError: If the folder is missing or cannot be written.
        """
        target, content = Path(path), self.png_with_labels()
        with atomic_write(target, overwrite=True) as temporary:
            temporary.write_bytes(content)
        return target


def make_sample_grid(
    rows: Mapping[str, Tensor], columns: Sequence[str], *, span: tuple[float, float], title: str = "Same seeds"
) -> SampleGrid:
    """Return a grid of images that are at hand.

    No image is stretched to its own range: black and white mean the same in all of them.

    Examples:
        >>> grid = make_sample_grid({"Original": torch.rand(2, 1, 8, 8)}, ["3, seed 0", "3, seed 1"], span=(0, 1))
        >>> grid.png()[1:4], len(grid.as_dict()["rows"][0]["images"])
        (b'PNG', 2)
    """
    unit_rows = {str(label): to_unit_images(str(label), images, span) for label, images in rows.items()}
    shapes = {tuple(images.shape) for images in unit_rows.values()}
    if len(shapes) != 1 or next(iter(shapes))[0] != len(columns) or not columns:
        actual = f"{len(columns)} columns and rows of shape {', '.join(map(str, sorted(shapes))) or 'none'}"
        raise DataError("rows of as many images as there are columns, of one form", actual, "sample all models alike")
    return SampleGrid(title, tuple(map(str, columns)), unit_rows)


def sample_same_seed_grid(
    samplers: Mapping[str, GridSampler],
    prompts: Sequence[Any],
    seeds: Sequence[int],
    *,
    span: tuple[float, float],
    names: Mapping[Any, str] | None = None,
    title: str = "Same seeds",
) -> SampleGrid:
    """Return what every model makes of every request with every seed.

    Args:
        samplers: Label of a model → what samples it.
        prompts: Classes or prompts.
        seeds: Seeds, each used for every request and model.
        span: The values of black and of white that the samplers return.
        names: Name of each request, where it is not its own.
        title: What is shown.

    Raises:
        DataError: If there is nothing to show, or the samplers return images of different forms.
        NotFiniteError: If an image is not finite.

    Examples:
        >>> def flat(asked, seeds):
        ...     return torch.tensor(seeds).div(10.0).reshape(-1, 1, 1, 1).expand(-1, 1, 4, 4)
        >>> sample_same_seed_grid({"A": flat, "B": flat}, [3], [0, 5], span=(0, 1), names={3: "three"}).columns
        ('three, seed 0', 'three, seed 5')
    """
    pairs = [(one, int(seed)) for one in prompts for seed in seeds]
    if not pairs or not samplers:
        raise DataError("a model, a request and a seed at least", "none", "name what to sample")
    pair_prompts, pair_seeds = [one for one, _ in pairs], [seed for _, seed in pairs]
    rows = {label: sample(pair_prompts, pair_seeds) for label, sample in samplers.items()}
    heads = [f"{(names or {}).get(one, one)}, seed {seed}" for one, seed in pairs]
    return make_sample_grid(rows, heads, span=span, title=title)


def to_unit_images(label: str, images: Tensor, span: tuple[float, float]) -> Tensor:
    """Return a row's images in [0, 1]; what is wrong with them is said with the row's label."""
    try:
        return as_unit_images(images, span)
    except ExpungeError as error:
        raise type(error)(error.expected, error.actual, error.hint, f"row '{label}'") from error


def add_padding(images: Tensor) -> Tensor:
    """Return images with a white gutter above and to the left."""
    return torch.nn.functional.pad(images, (PADDING, 0, PADDING, 0), value=1.0)
