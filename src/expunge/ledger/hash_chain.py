"""The chain: each entry's hash covers the one before it, its header, and a commitment to its content.

    commitment = SHA-256(salt ‖ content)                    the salt is 32 random bytes
    hash_n     = SHA-256(hash_{n−1} ‖ n ‖ commitment ‖ header)
    seal       = HMAC-SHA256(key, n ‖ hash_n)               of the last entry alone

Salt and content can be erased together: the commitment stays, the chain still verifies, and nobody can try out contents
against the commitment, since the salt is gone. Anybody can check the hashes; whoever holds the key can check the seal,
which nobody else can make anew after rewriting the chain or cutting off its tail. Each text to be hashed begins with
what it is, and its parts before the last have fixed lengths, so that no two of them read the same.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any

GENESIS_HASH = "0" * 64
"""What the first entry follows."""
SALT_BYTES = 32

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class LedgerRow:
    """An entry as it is stored; a file from outside may hold anything in its place.

    Args:
        number: Its place, from 1.
        header: Text of the header.
        commitment: To salt and content.
        hash: The chain's hash.
        salt: 32 random bytes; None after a redaction.
        content: Text of the content; None after a redaction.
    """

    number: Any
    header: Any
    commitment: Any
    hash: Any
    salt: Any
    content: Any

    @property
    def is_well_formed(self) -> bool:
        """Whether each column has its type and length, and salt and content are there together or gone together."""
        texts = isinstance(self.header, str) and isinstance(self.number, int)
        hashes = all(isinstance(text, str) and _HEX.fullmatch(text) for text in (self.commitment, self.hash))
        both_erased = self.salt is None and self.content is None
        both_present = isinstance(self.salt, bytes) and len(self.salt) == SALT_BYTES and isinstance(self.content, str)
        return texts and hashes and (both_erased or both_present)

    @property
    def is_redacted(self) -> bool:
        """Whether the content is gone."""
        return self.content is None


@dataclass(frozen=True)
class ChainHead:
    """What the file says about its end.

    Args:
        count: How many entries there are.
        hash: The last one's.
        seal: Over both, under the key.
    """

    count: Any
    hash: Any
    seal: Any


def compute_commitment(salt: bytes, content: str) -> str:
    """Return the commitment to a content, in hex.

    Examples:
        >>> compute_commitment(bytes(32), "{}")[:8]
        '6653f582'
    """
    return hashlib.sha256(b"expunge ledger content\0" + salt + content.encode()).hexdigest()


def compute_entry_hash(previous: str, number: int, commitment: str, header: str) -> str:
    """Return the hash of an entry that follows the hash ``previous``, in hex.

    Examples:
        >>> compute_entry_hash(GENESIS_HASH, 1, "0" * 64, "{}") == compute_entry_hash(GENESIS_HASH, 2, "0" * 64, "{}")
        False
    """
    fixed = bytes.fromhex(previous) + number.to_bytes(8, "big", signed=True) + bytes.fromhex(commitment)
    return hashlib.sha256(b"expunge ledger entry\0" + fixed + header.encode()).hexdigest()


def compute_seal(key: bytes, count: int, head: str) -> str:
    """Return the seal of a ledger of ``count`` entries that ends with the hash ``head``, in hex.

    Examples:
        >>> compute_seal(bytes(32), 1, GENESIS_HASH) == compute_seal(bytes(32), 2, GENESIS_HASH)
        False
    """
    return hmac.new(
        key, b"expunge ledger head\0" + count.to_bytes(8, "big") + bytes.fromhex(head), "sha256"
    ).hexdigest()
