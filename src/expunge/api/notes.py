"""What a request says of itself beside what is to be forgotten: title, ticket and requester."""

from __future__ import annotations

from collections.abc import Mapping

from expunge.api.digests import hmac_digest

MAX_NOTE_LENGTH = 200


def note_digests(note: Mapping[str, str], key: bytes) -> dict[str, str]:
    """Return what a request says of itself in keyed hashes, as the ledger keeps it.

    Examples:
        >>> note_digests({"ticket": "T-1"}, bytes(32))["ticket"][:8]
        '8f0240db'
    """
    return {name: hmac_digest(key, name, [text.encode("utf-8", "surrogatepass")]) for name, text in note.items()}
