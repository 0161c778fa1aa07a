"""The grid of generated pictures: a row for each model, a column for each seed and what was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.report.contact import picture
from expunge.report.document import Grid, Request

MOST = 32
"""How many columns a grid shows."""


@dataclass(frozen=True)
class GridLine:
    """A model's pictures, None where there is no safe one."""

    label: str
    pictures: tuple[str | None, ...]


@dataclass(frozen=True)
class Drawn:
    """A grid as the page shows it."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[GridLine, ...]
    total: int


def grids(request: Request) -> tuple[Drawn, ...]:
    """Return the grids of a request, without what is no PNG inside the document."""
    return tuple(_drawn(grid) for grid in request.grids)


def _drawn(grid: Grid) -> Drawn:
    lines = tuple(GridLine(row.label, tuple(map(picture, row.images[:MOST]))) for row in grid.rows)
    return Drawn(grid.title, grid.columns[:MOST], lines, len(grid.columns))
