"""Was a request served before?"""

from __future__ import annotations

from collections.abc import Sequence

from expunge.errors import RequestError
from expunge.ledger.entry import Asked, Entry


def served(entries: Sequence[Entry], asked: Asked, model: str) -> Entry | None:
    """Return the latest entry that answered this request for this model or for one that it comes from.

    That is so if an entry forgot the same examples of the same data, and the model is the one that the request was made
    to, the one that answered it, or one that later requests made of that. Requests for a part or a union of earlier
    ones are not recognised: the ledger holds one hash of each set, not of each example.

    Args:
        entries: Of the ledger. Redacted ones are passed over.
        asked: The request.
        model: Keyed hash of the weights that it is made to.
    """
    family = ancestors(entries, model)
    for entry in reversed(entries):
        models, content = entry.header.models, entry.content
        if models is None or content is None or content.asked is None or not content.asked.same_data(asked):
            continue
        if models.original == model or models.unlearned in family:
            return entry
    return None


def refuse_served(entry: Entry | None) -> None:
    """Refuse a request that an entry shows to have been answered.

    Raises:
        RequestError: If there is such an entry.
    """
    if entry is not None:
        found = f"entry {entry.number} of {entry.header.done[:10]} in the ledger, which answered it for this model"
        raise RequestError("a request that was not served yet", found, "pass --again (again=True) to answer it anew")


def ancestors(entries: Sequence[Entry], model: str) -> set[str]:
    """Return a model and the models that it was made of by requests in the ledger, by keyed hash.

    Examples:
        >>> from expunge.ledger.entry import Header, Models
        >>> a, b, c, d = ("abcd"[i] * 64 for i in range(4))
        >>> pairs = Models(a, b), Models(b, c), Models(a, d)
        >>> headers = [Header("request", "2026-01-01T00:00:00+00:00", "0" * 8, pair) for pair in pairs]
        >>> entries = [Entry(n, header, None, "") for n, header in enumerate(headers, 1)]
        >>> ancestors(entries, c) == {a, b, c}
        True
    """
    parents: dict[str, set[str]] = {}
    for entry in entries:
        if entry.header.models is not None:
            parents.setdefault(entry.header.models.unlearned, set()).add(entry.header.models.original)
    found, waiting = {model}, [model]
    while waiting:
        for parent in parents.get(waiting.pop(), set()) - found:
            found.add(parent)
            waiting.append(parent)
    return found
