"""Words around a picture of pictures, so that it can be read without the command that made it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from expunge.tasks.diffusion.evaluation.extras import import_optional

FONT_SIZE, LINE_HEIGHT, TEXT_PADDING = 12, 16, 6
"""Height of letters, distance of lines and space around words, pixels."""
MAX_ROW_LABEL_WIDTH = 180
"""Pixels of the widest label of a row."""
MAX_LABEL_LINES = 5
"""Lines of the longest label."""


def add_captions(pictures: Tensor, title: str, rows: Sequence[str], columns: Sequence[str], padding: int) -> Tensor:
    """Return a picture of pictures with its title above, its rows named on the left and its columns above.

    Args:
        pictures: uint8 ``(height, width, 1 or 3)``: rows and columns of equal size with ``padding`` pixels in between.
        title: One or more lines.
        rows: Label of each row.
        columns: Label of each column.
        padding: Pixels between pictures.

    Returns:
        uint8 ``(height, width, 3)``.

    Raises:
        MissingExtraError: If Pillow is not installed.

    Examples:
        >>> small = torch.zeros(100, 202, 1, dtype=torch.uint8)
        >>> whole = add_captions(small, "Same seeds", ["Original"], ["coat, seed 0", "coat, seed 1"], 2)
        >>> bool((whole[-106:-6, -208:-6] == torch.zeros(100, 202, 3)).logical_or(whole[-106:-6, -208:-6] == 0).all())
        True
    """
    purpose = "labels in a picture"
    image, draw, font = (
        import_optional(f"PIL.{name}", purpose, "diffusion") for name in ("Image", "ImageDraw", "ImageFont")
    )
    letters = font.load_default(FONT_SIZE)
    height, width = pictures.shape[:2]
    down, across = (height + padding) // len(rows), (width + padding) // len(columns)
    sides = [wrap_text(label, MAX_ROW_LABEL_WIDTH, letters.getlength, down // LINE_HEIGHT) for label in rows]
    heads = [wrap_text(label, across - TEXT_PADDING, letters.getlength, MAX_LABEL_LINES) for label in columns]
    left = 2 * TEXT_PADDING + round(max(letters.getlength(line) for lines in sides for line in lines))
    above = wrap_text(title, left + width, letters.getlength, MAX_LABEL_LINES)
    top = TEXT_PADDING + LINE_HEIGHT * (len(above) + max(map(len, heads))) + TEXT_PADDING
    canvas = image.new("RGB", (left + width + TEXT_PADDING, top + height + TEXT_PADDING), "white")
    canvas.paste(image.fromarray(pictures.expand(-1, -1, 3).contiguous().numpy()), (left, top))
    write: Callable[[int, int, list[str]], None] = make_text_drawer(draw.Draw(canvas), letters)
    write(TEXT_PADDING, TEXT_PADDING, above)
    for number, lines in enumerate(heads):
        write(left + number * across, top - TEXT_PADDING // 2 - LINE_HEIGHT * len(lines), lines)
    for number, lines in enumerate(sides):
        write(TEXT_PADDING, top + number * down + (down - padding - LINE_HEIGHT * len(lines)) // 2, lines)
    return torch.from_numpy(np.array(canvas))


def make_text_drawer(draw: Any, letters: Any) -> Callable[[int, int, list[str]], None]:
    """Return what writes lines in black from a corner."""

    def write(left: int, top: int, lines: list[str]) -> None:
        for number, line in enumerate(lines):
            draw.text((left, top + LINE_HEIGHT * number), line, fill="black", font=letters)

    return write


def wrap_text(text: str, width: float, length: Callable[[str], float], max_lines: int) -> list[str]:
    """Return a text as lines that are not wider than ``width``; what is too long ends with an ellipsis.

    Args:
        text: Words; a word that is too wide is cut.
        width: Of a line.
        length: Width of a text.
        max_lines: Number of lines, at least 1.

    Examples:
        >>> wrap_text("a photograph of a cat", 9, len, 3), wrap_text("seed 0", 9, len, 1)
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
    return lines if len(lines) <= max(1, max_lines) else truncate_lines(lines[: max(1, max_lines)], width, length)


def truncate_lines(lines: list[str], width: float, length: Callable[[str], float]) -> list[str]:
    """Return lines whose last one ends with an ellipsis and still fits."""
    last = lines[-1]
    while last and length(f"{last}…") > width:
        last = last[:-1]
    return [*lines[:-1], f"{last}…"]
