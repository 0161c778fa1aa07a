"""Was a request served before?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from expunge.errors import RequestError
from expunge.ledger.entry import LedgerEntry, RequestRecord


def find_served(entries: Sequence[LedgerEntry], request: RequestRecord, *model: str) -> LedgerEntry | None:
    """Return the latest entry that answered this request for this model or for one that it comes from.

    That is so if an entry forgot the same examples, known by what they hold, and the model is the one that the request
    was made to, the one that answered it, or one that later requests made of that. Requests for a part or a union of
    earlier ones are not recognized.

    Args:
        entries: Of the ledger. Redacted ones are passed over.
        request: The request.
        model: Keyed hashes of the weights that it is made to, of their file and of their state.
    """
    lineage = find_ancestors(entries, *model)
    for entry in reversed(entries):
        header, content = entry.header, entry.content
        if content is None or content.asked is None or not content.asked.is_same_request(request):
            continue
        if not header.originals.isdisjoint(model) or not header.answers.isdisjoint(lineage):
            return entry
    return None


def find_earlier_requests(entries: Sequence[LedgerEntry], *model: str) -> list[LedgerEntry]:
    """Return the entries of the requests that led to a model, the first one first.

    Args:
        entries: Of the ledger, redacted ones included.
        model: Keyed hashes of the model's weights, of their file and of their state.

    Examples:
        >>> from expunge.ledger.entry import Header, ModelHashes
        >>> a, b, c = ("abc"[i] * 64 for i in range(3))
        >>> models = (ModelHashes(a, b), ModelHashes(a, c))
        >>> headers = [Header("request", "2026-01-01T00:00:00+00:00", "0" * 8, one) for one in models]
        >>> entries = [LedgerEntry(n, header, None, "") for n, header in enumerate(headers, 1)]
        >>> [entry.number for entry in find_earlier_requests(entries, b)]
        [1]
    """
    lineage = find_ancestors(entries, *model)
    return [entry for entry in entries if not entry.header.answers.isdisjoint(lineage)]


def check_not_served(entry: LedgerEntry | None) -> None:
    """Refuse a request that an entry shows to have been answered.

    Raises:
        RequestError: If there is such an entry.
    """
    if entry is not None:
        actual = f"entry {entry.number} of {entry.header.done[:10]} in the ledger, which answered it for this model"
        raise RequestError("a request that was not served yet", actual, "pass --force (again=True) to answer it anew")


def make_not_served_check(
    request: RequestRecord, *model: str, num_seen: int = 0
) -> Callable[[Sequence[LedgerEntry]], None]:
    """Return what refuses an entry about a request that was served meanwhile, for ``Ledger.append(admit=)``.

    Args:
        request: The request.
        model: Keyed hash of the weights that it is made to.
        num_seen: How many entries were looked at before. Default 0.
    """

    def admit(entries: Sequence[LedgerEntry]) -> None:
        entry = find_served(entries, request, *model)
        check_not_served(entry if entry is not None and entry.number > num_seen else None)

    return admit


def find_ancestors(entries: Sequence[LedgerEntry], *model: str) -> set[str]:
    """Return a model and the models that it was made of by requests in the ledger, by keyed hash.

    Examples:
        >>> from expunge.ledger.entry import Header, ModelHashes
        >>> a, b, c, d = ("abcd"[i] * 64 for i in range(4))
        >>> pairs = ModelHashes(a, b), ModelHashes(b, c), ModelHashes(a, d)
        >>> headers = [Header("request", "2026-01-01T00:00:00+00:00", "0" * 8, pair) for pair in pairs]
        >>> entries = [LedgerEntry(n, header, None, "") for n, header in enumerate(headers, 1)]
        >>> find_ancestors(entries, c) == {a, b, c}
        True
    """
    parents: dict[str, set[str]] = {}
    for entry in entries:
        for answer in entry.header.answers:
            # Two hashes of one answer lead to each other: a later request may know it by either.
            parents.setdefault(answer, set()).update(entry.header.originals, entry.header.answers)
    lineage, queue = set(model), list(model)
    while queue:
        for parent in parents.get(queue.pop(), set()) - lineage:
            lineage.add(parent)
            queue.append(parent)
    return lineage
