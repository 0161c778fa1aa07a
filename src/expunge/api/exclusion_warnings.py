"""What a run says of entries of the ledger whose forgotten examples it cannot find, or that may not be of its chain."""

from __future__ import annotations

EXCLUDE_HINT = "name what it forgot with `exclude:` (exclude=)"


def describe_unknown_entry(number: int) -> str:
    """Return the warning for an entry that does not say what it forgot."""
    return f"Entry {number} of the ledger is redacted or of an earlier version and no longer says what it forgot, so \
it cannot be left out; {EXCLUDE_HINT}."


def describe_missing_ids(number: int) -> str:
    """Return the warning for an entry that forgot ids, where the data come without them."""
    return f"Entry {number} of the ledger knows what it forgot by id too, but the data come without ids, so an example \
that has changed since, or that equals another one, is not found; name the column with `id_column` (in Python: ids)."


def describe_foreign_entry(number: int, count: int) -> str:
    """Return the warning for retained examples that were forgotten by a model which may be an earlier form of this."""
    return f"The ledger does not know this model, and entry {number} forgot {count:,} of the retained examples from \
another one; if this model comes from its answer, {EXCLUDE_HINT}."


def beside_sentence(number: int, count: int) -> str:
    """Return the warning for retained examples that a model forgot which this request does not go on from."""
    return f"Entry {number} of the ledger forgot {count:,} of the retained examples, but this request is not made to \
the model that answered it, so they stay learned; to keep them deleted, make the request to that model."
