"""The grid of generated pictures: a row for each model, a column for each seed and what was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.report.document import Grid, RequestSection
from expunge.report.example_grid import safe_data_url

MAX_COLUMNS = 32
"""How many columns a grid shows."""


@dataclass(frozen=True)
class ImageGridRow:
    """A model's pictures, None where there is no safe one."""

    label: str
    pictures: tuple[str | None, ...]


@dataclass(frozen=True)
class ImageGridView:
    """A grid as the page shows it."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[ImageGridRow, ...]
    total: int


def build_image_grids(request: RequestSection) -> tuple[ImageGridView, ...]:
    """Return the grids of a request, without what is no PNG inside the document."""
    return tuple(_build_grid(grid) for grid in request.grids)


def _build_grid(grid: Grid) -> ImageGridView:
    lines = tuple(ImageGridRow(row.label, tuple(map(safe_data_url, row.images[:MAX_COLUMNS]))) for row in grid.rows)
    return ImageGridView(grid.title, grid.columns[:MAX_COLUMNS], lines, len(grid.columns))
