"""Words around a picture of pictures, so that it can be read without the command that made it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from expunge.tasks.diffusion.evaluation.extras import optional

SIZE, LINE, PAD = 12, 16, 6
"""Height of letters, distance of lines and space around words, pixels."""
ROOM = 180
"""Pixels of the widest label of a row."""
MOST = 5
"""Lines of the longest label."""


def lettered(pictures: Tensor, title: str, rows: Sequence[str], columns: Sequence[str], gutter: int) -> Tensor:
    """Return a picture of pictures with its title above, its rows named on the left and its columns above.

    Args:
        pictures: uint8 ``(height, width, 1 or 3)``: rows and columns of equal size with ``gutter`` pixels in between.
        title: One or more lines.
        rows: Label of each row.
        columns: Label of each column.
        gutter: Pixels between pictures.

    Returns:
        uint8 ``(height, width, 3)``.

    Raises:
        MissingExtraError: If Pillow is not installed.

    Examples:
        >>> small = torch.zeros(100, 202, 1, dtype=torch.uint8)
        >>> whole = lettered(small, "Same seeds", ["Original"], ["coat, seed 0", "coat, seed 1"], 2)
        >>> bool((whole[-106:-6, -208:-6] == torch.zeros(100, 202, 3)).logical_or(whole[-106:-6, -208:-6] == 0).all())
        True
    """
    purpose = "labels in a picture"
    image, draw, font = (optional(f"PIL.{name}", purpose, "diffusion") for name in ("Image", "ImageDraw", "ImageFont"))
    letters = font.load_default(SIZE)
    height, width = pictures.shape[:2]
    down, across = (height + gutter) // len(rows), (width + gutter) // len(columns)
    sides = [wrapped(label, ROOM, letters.getlength, down // LINE) for label in rows]
    heads = [wrapped(label, across - PAD, letters.getlength, MOST) for label in columns]
    left = 2 * PAD + round(max(letters.getlength(line) for lines in sides for line in lines))
    above = wrapped(title, left + width, letters.getlength, MOST)
    top = PAD + LINE * (len(above) + max(map(len, heads))) + PAD
    canvas = image.new("RGB", (left + width + PAD, top + height + PAD), "white")
    canvas.paste(image.fromarray(pictures.expand(-1, -1, 3).contiguous().numpy()), (left, top))
    write: Callable[[int, int, list[str]], None] = writer(draw.Draw(canvas), letters)
    write(PAD, PAD, above)
    for number, lines in enumerate(heads):
        write(left + number * across, top - PAD // 2 - LINE * len(lines), lines)
    for number, lines in enumerate(sides):
        write(PAD, top + number * down + (down - gutter - LINE * len(lines)) // 2, lines)
    return torch.from_numpy(np.array(canvas))


def writer(draw: Any, letters: Any) -> Callable[[int, int, list[str]], None]:
    """Return what writes lines in black from a corner."""

    def write(left: int, top: int, lines: list[str]) -> None:
        for number, line in enumerate(lines):
            draw.text((left, top + LINE * number), line, fill="black", font=letters)

    return write


def wrapped(text: str, width: float, length: Callable[[str], float], most: int) -> list[str]:
    """Return a text as lines that are not wider than ``width``; what is too long ends with an ellipsis.

    Args:
        text: Words; a word that is too wide is cut.
        width: Of a line.
        length: Width of a text.
        most: Number of lines, at least 1.

    Examples:
        >>> wrapped("a photograph of a cat", 9, len, 3), wrapped("seed 0", 9, len, 1)
        (['a', 'photograp', 'h of a…'], ['seed 0'])
    """
    lines, line = [], ""
    for word in text.split():
        rest = word
        if line and length(f"{line} {rest}") <= width:
            line = f"{line} {rest}"
            continue
        lines += [line] if line else []
        while length(rest) > width and len(rest) > 1:
            cut = next(at for at in range(len(rest) - 1, 0, -1) if at == 1 or length(rest[:at]) <= width)
            lines.append(rest[:cut])
            rest = rest[cut:]
        line = rest
    lines.append(line)
    return lines if len(lines) <= max(1, most) else shortened(lines[: max(1, most)], width, length)


def shortened(lines: list[str], width: float, length: Callable[[str], float]) -> list[str]:
    """Return lines whose last one ends with an ellipsis and still fits."""
    last = lines[-1]
    while last and length(f"{last}…") > width:
        last = last[:-1]
    return [*lines[:-1], f"{last}…"]
