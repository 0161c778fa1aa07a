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

LARGEST = 16 * 2**20
"""Bytes of the largest file that is read; I2P has about 2 million."""
LONGEST = 2000
"""Characters of the longest prompt."""
HIGHEST = 2**63 - 1
NAMES: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", "prompts", "caption"),
    "seed": ("seed", "evaluation_seed", "sd_seed"),
    "guidance": ("guidance", "guidance_scale", "evaluation_guidance", "sd_guidance_scale"),
    "class_name": ("class", "class_name"),
}
"""What is read → names of its column, the first that is there; other columns are left alone."""
CURE = "give a CSV file with a column 'prompt', and perhaps 'seed', 'guidance' and 'class'"


@dataclass(frozen=True)
class Prompted:
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


def read_prompts(path: str | os.PathLike[str]) -> tuple[Prompted, ...]:
    r"""Return the rows of a CSV file of prompts, in its order.

    Prompts are the user's own data: none come with this package.

    Args:
        path: UTF-8, comma separated, the first line names the columns (``NAMES``), at most 16 MiB.

    Raises:
        DataError: If it cannot be read or is no such file, with the line; if a prompt is empty or endless, or a seed or
            guidance is no number from 0 up.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "prompts.csv")
        ...     _ = file.write_text('case_number,prompt,evaluation_seed\n0,"a cat, asleep",17\n')
        ...     read_prompts(file)
        (Prompted(prompt='a cat, asleep', seed=17, guidance=None, class_name=None),)
    """
    place = Path(path)
    try:
        content = read_bytes(place, LARGEST)
        if len(content) > LARGEST:
            raise refusal(f"a file of prompts of at most {LARGEST // 2**20} MiB", f"more in '{place.name}'")
        found = tuple(rows(content.decode("utf-8-sig"), place.name))
    except OSError as error:
        raise refusal(f"a file of prompts at '{place}'", (error.strerror or "unreadable").lower()) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise refusal(f"'{place.name}' to be a CSV file in UTF-8", f"{type(error).__name__} ({error})") from error
    if not found:
        raise refusal(f"at least one prompt in '{place.name}'", "none")
    return found


def classes_of(rows: Sequence[Prompted], names: Sequence[str]) -> list[int]:
    """Return the class of each row, what a classifier should see in its image: the labels of ``ShownImages``.

    Args:
        rows: With a class each, as files like ImageNette's have it.
        names: The classifier's classes, in the order of their numbers.

    Raises:
        DataError: If a row has no class, or one that the classifier does not know.

    Examples:
        >>> classes_of([Prompted("image of a tench", class_name="tench")], ["church", "tench"])
        [1]
    """
    known = {name: number for number, name in enumerate(names)}
    for place, one in enumerate(rows, 1):
        if one.class_name not in known:
            found = "none" if one.class_name is None else f"'{one.class_name}'"
            raise refusal("a class that the classifier knows for every prompt", f"{found} for prompt {place}")
    return [known[str(one.class_name)] for one in rows]


def rows(text: str, name: str) -> Iterator[Prompted]:
    """Yield what the lines ask for."""
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    heads = [head.strip().lower() for head in next(reader, [])]
    columns = {key: column_of(heads, names) for key, names in NAMES.items()}
    if columns["prompt"] is None:
        shown = ", ".join(heads)[:80] or "nothing"
        raise refusal(f"a column 'prompt' in the first line of '{name}'", shown)
    for cells in reader:
        where = f"{name} line {reader.line_num}"
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(heads):
            raise refusal(f"{len(heads)} columns on every line", f"{len(cells)}", where)
        yield row({key: cells[at].strip() if at is not None else "" for key, at in columns.items()}, where)


def column_of(heads: list[str], names: tuple[str, ...]) -> int | None:
    """Return the number of the first of the names that is a column's, None if none is."""
    return next((heads.index(name) for name in names if name in heads), None)


def row(cells: Mapping[str, str], where: str) -> Prompted:
    """Return what a line asks for."""
    prompt = cells["prompt"]
    if not 0 < len(prompt) <= LONGEST:
        raise refusal(f"a prompt of 1 to {LONGEST} characters", f"{len(prompt)}", where)
    seed, guidance = number(cells["seed"], "seed", where), number(cells["guidance"], "guidance", where)
    if seed is not None and (seed != int(seed) or seed > HIGHEST):
        raise refusal("a whole number as seed", f"'{cells['seed'][:40]}'", where)
    return Prompted(prompt, None if seed is None else int(seed), guidance, cells["class_name"] or None)


def number(cell: str, what: str, where: str) -> float | None:
    """Return the number in a cell, None of an empty one; whole numbers exactly."""
    if not cell:
        return None
    try:
        found = int(cell) if cell.isascii() and cell.isdigit() and len(cell) < 20 else float(cell)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise refusal(f"a number from 0 up as {what}", f"'{cell[:40]}'", where)
    return found


def refusal(expected: str, found: str, where: str = "") -> DataError:
    """Return the error about a file of prompts."""
    return DataError(expected, found, CURE, where)
