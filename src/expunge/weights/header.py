"""The header of a safetensors file, checked whole before anything of the size that it promises is allocated."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_TENSORS = 50_000
"""Far more than any public model has."""
MOST_DIMENSIONS = 64
"""As many as PyTorch's tensors can have."""
HIGHEST = 2**63 - 1

BYTES: Mapping[str, int] = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}
"""Types of whole bytes that PyTorch has → bytes of one number."""


@dataclass(frozen=True)
class Stored:
    """What a header says about one tensor.

    Args:
        dtype: Its type, by the format's name.
        shape: Its shape.
        begin: Its first byte, after the header.
        end: The byte after its last.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(source: Path) -> dict[str, Stored]:
    """Return what a file says about its tensors; the file begins as one of its size does.

    The tensors fill what follows the header, each byte belongs to one of them, and each has the bytes that its shape
    and type need. So no tensor is larger than the file, and all together are as large.

    Raises:
        ValueError: If the header says anything else.
    """
    with source.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length)
        size = source.stat().st_size - 8 - length
    raw = parsed(text)
    check_notes(raw.pop("__metadata__", {}))
    if len(raw) > MOST_TENSORS:
        raise ValueError(f"a header of {len(raw)} tensors, where at most {MOST_TENSORS} are read")
    found = {name: stored(name, entry) for name, entry in raw.items()}
    check_places(found, size)
    return found


def parsed(text: bytes) -> dict[str, Any]:
    """Return the mapping in a header; a name that stands twice is refused."""
    try:
        raw = json.loads(text, object_pairs_hook=unique)
    except RecursionError:
        raise ValueError("a header that is nested too deeply") from None
    if not isinstance(raw, dict):
        raise ValueError("a header that is no mapping")
    return raw


def unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return pairs as a mapping, if no name is there twice."""
    every = list(pairs)
    found = dict(every)
    if len(found) < len(every):
        raise ValueError("a name twice in the header")
    return found


def check_notes(notes: Any) -> None:
    """Refuse notes that are not texts under texts."""
    if not isinstance(notes, dict) or not all(isinstance(text, str) for text in notes.values()):
        raise ValueError("notes in the header that are no texts")


def stored(name: str, entry: Any) -> Stored:
    """Return what an entry says, if it fits together by itself."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"an entry of '{name[:80]}' without dtype, shape and data_offsets alone")
    dtype, shape, places = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BYTES:
        raise ValueError(f"an unknown type of '{name[:80]}'")
    if not is_sizes(shape) or not is_sizes(places) or len(places) != 2:
        raise ValueError(f"sizes of '{name[:80]}' that are none")
    # A nought would hide what the other sizes multiply to.
    if math.prod(max(size, 1) for size in shape) * BYTES[dtype] > HIGHEST:
        raise ValueError(f"sizes of '{name[:80]}' that no memory holds")
    begin, end = places
    if end - begin != math.prod(shape) * BYTES[dtype]:
        raise ValueError(f"{end - begin} bytes for '{name[:80]}', whose shape needs others")
    return Stored(dtype, tuple(shape), begin, end)


def is_sizes(value: Any) -> bool:
    """Return whether a value is a list of whole numbers that sizes can be."""
    if not isinstance(value, list) or len(value) > MOST_DIMENSIONS:
        return False
    return all(isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= HIGHEST for size in value)


def check_places(found: Mapping[str, Stored], size: int) -> None:
    """Refuse tensors that overlap, leave holes, or end elsewhere than the file."""
    at = 0
    for entry in sorted(found.values(), key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != at:
            raise ValueError("tensors that overlap or leave a hole")
        at = entry.end
    if at != size:
        raise ValueError(f"tensors of {at} bytes in {size} bytes")
