"""Words around a picture of pictures, so that it can be read without the command that made it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

FONT_SIZE, LINE_HEIGHT, LETTER_WIDTH, TEXT_PADDING = 12, 16, 7, 6
"""Height of letters, distance of lines, width of a letter and space around words, pixels."""
MAX_ROW_LABEL_WIDTH = 180
"""Pixels of the widest label of a row."""
MAX_LABEL_LINES = 5
"""Lines of the longest label."""


def add_captions(
    pictures: Image.Image, title: str, rows: Sequence[str], columns: Sequence[str], padding: int
) -> Image.Image:
    """Return a picture of pictures with its title above, its rows named on the left and its columns above.

    Examples:
        >>> pictures = Image.new("L", (202, 100))
        >>> add_captions(pictures, "Same seeds", ["Original"], ["coat, seed 0", "coat, seed 1"], 2).mode
        'RGB'
    """
    down, across = (pictures.height + padding) // len(rows), (pictures.width + padding) // len(columns)
    sides = [wrap_text(label, MAX_ROW_LABEL_WIDTH, down // LINE_HEIGHT) for label in rows]
    heads = [wrap_text(label, across - TEXT_PADDING, MAX_LABEL_LINES) for label in columns]
    left = 2 * TEXT_PADDING + LETTER_WIDTH * max(len(line) for lines in sides for line in lines)
    above = wrap_text(title, left + pictures.width, MAX_LABEL_LINES)
    top = 2 * TEXT_PADDING + LINE_HEIGHT * (len(above) + max(map(len, heads)))
    canvas = Image.new("RGB", (left + pictures.width + TEXT_PADDING, top + pictures.height + TEXT_PADDING), "white")
    canvas.paste(pictures, (left, top))
    places = [(TEXT_PADDING, TEXT_PADDING, above)]
    for number, lines in enumerate(heads):
        places.append((left + number * across, top - TEXT_PADDING // 2 - LINE_HEIGHT * len(lines), lines))
    for number, lines in enumerate(sides):
        middle = top + number * down + (down - padding - LINE_HEIGHT * len(lines)) // 2
        places.append((TEXT_PADDING, middle, lines))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(FONT_SIZE)
    for x, y, lines in places:
        for number, line in enumerate(lines):
            draw.text((x, y + LINE_HEIGHT * number), line, fill="black", font=font)
    return canvas


def wrap_text(text: str, width: int, max_lines: int) -> list[str]:
    """Return a text as lines of at most ``width`` pixels; what is too long ends with an ellipsis.

    Examples:
        >>> wrap_text("a photograph of a cat", 70, 2), wrap_text("", 70, 2)
        (['a', 'photograp…'], [''])
    """
    letters = max(1, width // LETTER_WIDTH)
    lines = textwrap.wrap(text, letters) or [""]
    if len(lines) <= max(1, max_lines):
        return lines
    *shown, last = lines[: max(1, max_lines)]
    return [*shown, last[: letters - 1] + "…"]
