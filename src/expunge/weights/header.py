"""The header of a safetensors file, checked whole before anything of the size that it promises is allocated."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_TENSORS = 50_000
"""Far more than any public model has."""
MAX_DIMENSIONS = 64
"""As many as PyTorch's tensors can have."""
MAX_INT64 = 2**63 - 1

DTYPE_BYTES: Mapping[str, int] = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}
"""Types of whole bytes that PyTorch has → bytes of one number."""


@dataclass(frozen=True)
class TensorHeader:
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


def read_header(source: Path) -> dict[str, TensorHeader]:
    """Return what a file says about its tensors; the file begins as one of its size does.

    The tensors fill what follows the header, each byte belongs to one of them, and each has the bytes that its shape
    and type need. So no tensor is larger than the file, and all together are as large.
    """
    with source.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length)
        size = source.stat().st_size - 8 - length
    raw = parse_header(text)
    check_metadata(raw.pop("__metadata__", {}))
    if len(raw) > MAX_TENSORS:
        raise ValueError(f"a header of {len(raw)} tensors, where at most {MAX_TENSORS} are read")
    tensors = {name: parse_tensor_header(name, entry) for name, entry in raw.items()}
    check_offsets(tensors, size)
    return tensors


def parse_header(text: bytes) -> dict[str, Any]:
    """Return the mapping in a header; a name that stands twice is refused."""
    try:
        raw = json.loads(text, object_pairs_hook=build_unique_mapping)
    except RecursionError:
        raise ValueError("a header that is nested too deeply") from None
    if not isinstance(raw, dict):
        raise ValueError("a header that is no mapping")
    return raw


def build_unique_mapping(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return pairs as a mapping, if no name is there twice."""
    items = list(pairs)
    mapping = dict(items)
    if len(mapping) < len(items):
        raise ValueError("a name twice in the header")
    return mapping


def check_metadata(metadata: Any) -> None:
    """Refuse notes that are not texts under texts."""
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("notes in the header that are no texts")


def parse_tensor_header(name: str, entry: Any) -> TensorHeader:
    """Return what an entry says, if it fits together by itself."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"an entry of '{name[:80]}' without dtype, shape and data_offsets alone")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise ValueError(f"an unknown type of '{name[:80]}'")
    if not is_size_list(shape) or not is_size_list(offsets) or len(offsets) != 2:
        raise ValueError(f"sizes of '{name[:80]}' that are none")
    # A nought would hide what the other sizes multiply to.
    if math.prod(max(size, 1) for size in shape) * DTYPE_BYTES[dtype] > MAX_INT64:
        raise ValueError(f"sizes of '{name[:80]}' that no memory holds")
    begin, end = offsets
    if end - begin != math.prod(shape) * DTYPE_BYTES[dtype]:
        raise ValueError(f"{end - begin} bytes for '{name[:80]}', whose shape needs others")
    return TensorHeader(dtype, tuple(shape), begin, end)


def is_size_list(value: Any) -> bool:
    if not isinstance(value, list) or len(value) > MAX_DIMENSIONS:
        return False
    return all(isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= MAX_INT64 for size in value)


def check_offsets(tensors: Mapping[str, TensorHeader], size: int) -> None:
    """Refuse tensors that overlap, leave holes, or end elsewhere than the file."""
    offset = 0
    for entry in sorted(tensors.values(), key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != offset:
            raise ValueError("tensors that overlap or leave a hole")
        offset = entry.end
    if offset != size:
        raise ValueError(f"tensors of {offset} bytes in {size} bytes")
