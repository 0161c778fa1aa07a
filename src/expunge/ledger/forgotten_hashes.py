"""What an entry says of each forgotten example, id and class, in keyed hashes, so that later requests leave them out.

Of examples and ids the first eight bytes of a keyed hash are enough: among a million of them and a million others, two
that differ agree with a probability of 5e-8. They are sorted, so that their order says nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

HASH_PREFIX_BYTES = 8
"""Bytes that are kept of a keyed hash."""
MAX_HASHES = 1_000_000
"""Most examples or ids of one entry."""


@dataclass(frozen=True)
class ForgottenHashes:
    """What was forgotten, one by one, in keyed hashes.

    Args:
        examples: Of each forgotten example, packed by ``pack_marks``. Default: none.
        ids: Of each of the user's ids of which nothing is retained, packed. Default: none.
        classes: Of each class of which nothing is retained, packed. Default: none.
        concepts: Of the names and prompts of each forgotten concept, packed. Default: none.
    """

    examples: str = ""
    ids: str = ""
    classes: str = ""
    concepts: str = ""


def pack_hash_prefixes(hashes: Iterable[bytes]) -> str:
    """Return keyed hashes as one text: cut to eight bytes, each once, sorted, in base64.

    Args:
        hashes: At least eight bytes each.

    Examples:
        >>> pack_hash_prefixes([b"BBBBBBBBBB", b"AAAAAAAA", b"BBBBBBBB"])
        'QUFBQUFBQUFCQkJCQkJCQg=='
    """
    return base64.b64encode(b"".join(sorted({one[:HASH_PREFIX_BYTES] for one in hashes}))).decode()


def unpack_hash_prefixes(text: str) -> list[bytes]:
    """Return the hashes in a text that ``pack_marks`` made.

    Raises:
        ValueError: If it is another text.

    Examples:
        >>> unpack_hash_prefixes(pack_hash_prefixes([b"AAAAAAAA"]))
        [b'AAAAAAAA']
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
    hashes = [raw[start : start + HASH_PREFIX_BYTES] for start in range(0, len(raw), HASH_PREFIX_BYTES)]
    ordered = all(one < other for one, other in pairwise(hashes))
    if len(raw) % HASH_PREFIX_BYTES or len(hashes) > MAX_HASHES or not ordered:
        raise ValueError("no sorted hashes of eight bytes")
    return hashes
