"""Files of prompts, as those of I2P and ImageNette are shared: CSV with a column of prompts, read and never run."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from expunge.errors import DataError
from expunge.paths import read_bytes

MAX_FILE_BYTES = 16 * 2**20
"""Bytes of the largest file that is read; I2P has about 2 million."""
MAX_PROMPT_CHARS = 2000
"""Characters of the longest prompt."""
MAX_SEED = 2**63 - 1
COLUMN_NAMES: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", "prompts", "caption"),
    "seed": ("seed", "evaluation_seed", "sd_seed"),
    "guidance": ("guidance", "guidance_scale", "evaluation_guidance", "sd_guidance_scale"),
    "class_name": ("class", "class_name"),
}
"""What is read → names of its column, the first that is there; other columns are left alone."""
HINT = "give a CSV file with a column 'prompt', and perhaps 'seed', 'guidance' and 'class'"


@dataclass(frozen=True)
class PromptRow:
    """One image to be asked for.

    Args:
        prompt: What is asked for.
        seed: Of its starting noise; None where the file names none.
        guidance: Of classifier-free guidance; None where the file names none.
        class_name: What a classifier should see in it; None where the file names none.
    """

    prompt: str
    seed: int | None = None
    guidance: float | None = None
    class_name: str | None = None


def read_prompts(path: str | os.PathLike[str]) -> tuple[PromptRow, ...]:
    r"""Return the rows of a CSV file of prompts, in its order.

    Prompts are the user's own data: none come with this package.

    Args:
        path: UTF-8, comma separated, the first line names the columns (``COLUMN_NAMES``), at most 16 MiB.

    Raises:
        DataError: If it cannot be read or is no such file, with the line; if a prompt is empty or endless, or a seed or
            guidance is no number from 0 up.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "prompts.csv")
        ...     _ = file.write_text('case_number,prompt,evaluation_seed\n0,"a cat, asleep",17\n')
        ...     read_prompts(file)
        (PromptRow(prompt='a cat, asleep', seed=17, guidance=None, class_name=None),)
    """
    file = Path(path)
    try:
        content = read_bytes(file, MAX_FILE_BYTES)
        if len(content) > MAX_FILE_BYTES:
            raise prompt_file_error(
                f"a file of prompts of at most {MAX_FILE_BYTES // 2**20} MiB", f"more in '{file.name}'"
            )
        prompt_rows = tuple(parse_rows(content.decode("utf-8-sig"), file.name))
    except OSError as error:
        raise prompt_file_error(f"a file of prompts at '{file}'", (error.strerror or "unreadable").lower()) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise prompt_file_error(
            f"'{file.name}' to be a CSV file in UTF-8", f"{type(error).__name__} ({error})"
        ) from error
    if not prompt_rows:
        raise prompt_file_error(f"at least one prompt in '{file.name}'", "none")
    return prompt_rows


def get_class_indices(rows: Sequence[PromptRow], names: Sequence[str]) -> list[int]:
    """Return the class of each row, what a classifier should see in its image: the labels of ``LabeledImages``.

    Args:
        rows: With a class each, as files like ImageNette's have it.
        names: The classifier's classes, in the order of their numbers.

    Raises:
        DataError: If a row has no class, or one that the classifier does not know.

    Examples:
        >>> get_class_indices([PromptRow("image of a tench", class_name="tench")], ["church", "tench"])
        [1]
    """
    name_to_class = {name: number for number, name in enumerate(names)}
    for position, one in enumerate(rows, 1):
        if one.class_name not in name_to_class:
            actual = "none" if one.class_name is None else f"'{one.class_name}'"
            raise prompt_file_error(
                "a class that the classifier knows for every prompt", f"{actual} for prompt {position}"
            )
    return [name_to_class[str(one.class_name)] for one in rows]


def parse_rows(text: str, name: str) -> Iterator[PromptRow]:
    """Yield what the lines ask for."""
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    header = [head.strip().lower() for head in next(reader, [])]
    columns = {key: find_column(header, names) for key, names in COLUMN_NAMES.items()}
    if columns["prompt"] is None:
        header_excerpt = ", ".join(header)[:80] or "nothing"
        raise prompt_file_error(f"a column 'prompt' in the first line of '{name}'", header_excerpt)
    for cells in reader:
        where = f"{name} line {reader.line_num}"
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise prompt_file_error(f"{len(header)} columns on every line", f"{len(cells)}", where)
        yield parse_row({key: cells[at].strip() if at is not None else "" for key, at in columns.items()}, where)


def find_column(header: list[str], names: tuple[str, ...]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def parse_row(cells: Mapping[str, str], where: str) -> PromptRow:
    """Return what a line asks for."""
    prompt = cells["prompt"]
    if not 0 < len(prompt) <= MAX_PROMPT_CHARS:
        raise prompt_file_error(f"a prompt of 1 to {MAX_PROMPT_CHARS} characters", f"{len(prompt)}", where)
    seed, guidance = parse_number(cells["seed"], "seed", where), parse_number(cells["guidance"], "guidance", where)
    if seed is not None and (seed != int(seed) or seed > MAX_SEED):
        raise prompt_file_error("a whole number as seed", f"'{cells['seed'][:40]}'", where)
    return PromptRow(prompt, None if seed is None else int(seed), guidance, cells["class_name"] or None)


def parse_number(cell: str, description: str, where: str) -> float | None:
    """Return the number in a cell, None of an empty one; whole numbers exactly."""
    if not cell:
        return None
    try:
        value = int(cell) if cell.isascii() and cell.isdigit() and len(cell) < 20 else float(cell)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise prompt_file_error(f"a number from 0 up as {description}", f"'{cell[:40]}'", where)
    return value


def prompt_file_error(expected: str, actual: str, where: str = "") -> DataError:
    return DataError(expected, actual, HINT, where)
