"""Was a request served before?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from expunge.errors import RequestError
from expunge.ledger.entry import Asked, Entry


def served(entries: Sequence[Entry], asked: Asked, *model: str) -> Entry | None:
    """Return the latest entry that answered this request for this model or for one that it comes from.

    That is so if an entry forgot the same examples, known by what they hold, and the model is the one that the request
    was made to, the one that answered it, or one that later requests made of that. Requests for a part or a union of
    earlier ones are not recognised.

    Args:
        entries: Of the ledger. Redacted ones are passed over.
        asked: The request.
        model: Keyed hashes of the weights that it is made to, of their file and of their state.
    """
    family = ancestors(entries, *model)
    for entry in reversed(entries):
        header, content = entry.header, entry.content
        if content is None or content.asked is None or not content.asked.same_data(asked):
            continue
        if not header.originals.isdisjoint(model) or not header.answers.isdisjoint(family):
            return entry
    return None


def earlier_requests(entries: Sequence[Entry], *model: str) -> list[Entry]:
    """Return the entries of the requests that led to a model, the first one first.

    Args:
        entries: Of the ledger, redacted ones included.
        model: Keyed hashes of the model's weights, of their file and of their state.

    Examples:
        >>> from expunge.ledger.entry import Header, Models
        >>> a, b, c = ("abc"[i] * 64 for i in range(3))
        >>> headers = [Header("request", "2026-01-01T00:00:00+00:00", "0" * 8, m) for m in (Models(a, b), Models(a, c))]
        >>> entries = [Entry(n, header, None, "") for n, header in enumerate(headers, 1)]
        >>> [entry.number for entry in earlier_requests(entries, b)]
        [1]
    """
    family = ancestors(entries, *model)
    return [entry for entry in entries if not entry.header.answers.isdisjoint(family)]


def refuse_served(entry: Entry | None) -> None:
    """Refuse a request that an entry shows to have been answered.

    Raises:
        RequestError: If there is such an entry.
    """
    if entry is not None:
        found = f"entry {entry.number} of {entry.header.done[:10]} in the ledger, which answered it for this model"
        raise RequestError("a request that was not served yet", found, "pass --again (again=True) to answer it anew")


def not_served(asked: Asked, *model: str, since: int = 0) -> Callable[[Sequence[Entry]], None]:
    """Return what refuses an entry about a request that was served meanwhile, for ``Ledger.append(admit=)``.

    Args:
        asked: The request.
        model: Keyed hash of the weights that it is made to.
        since: How many entries were looked at before. Default 0.
    """

    def admit(entries: Sequence[Entry]) -> None:
        entry = served(entries, asked, *model)
        refuse_served(entry if entry is not None and entry.number > since else None)

    return admit


def ancestors(entries: Sequence[Entry], *model: str) -> set[str]:
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
        for answer in entry.header.answers:
            # Two hashes of one answer lead to each other: a later request may know it by either.
            parents.setdefault(answer, set()).update(entry.header.originals, entry.header.answers)
    found, waiting = set(model), list(model)
    while waiting:
        for parent in parents.get(waiting.pop(), set()) - found:
            found.add(parent)
            waiting.append(parent)
    return found
