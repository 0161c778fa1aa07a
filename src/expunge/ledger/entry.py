"""What an entry of the ledger may say: keyed hashes, sizes, times and shares of a budget; anything else is refused.

An entry has two parts. The header stays for ever: when, what kind of entry, which models, what it spent. The content
can be redacted: the hash of what was forgotten, its size, the method, the hashes of the evidence.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar, get_args

from expunge.errors import DataError
from expunge.ledger.forgotten_hashes import ForgottenHashes, unpack_hash_prefixes

EntryKind = Literal["request", "purge", "redaction"]
RequestKind = Literal["class", "fraction", "indices", "ids", "predicate", "concept"]
BudgetUnit = Literal["points", "relative loss", "own metric"]
"""The units of ``expunge.budget.Budget``."""
BaselineKind = Literal["request", "stream"]

T = TypeVar("T")

MAX_CONTENT_LENGTH = 15 * 2**20
"""Most characters in a header, which names every held-out example, or a content, which names every forgotten one."""
MAX_FILES = 32
NOTE_KEYS = ("title", "ticket", "requester")
"""What a request may say of itself beside what is to be forgotten."""

OPTIONAL_FIELDS = ("states", "forgotten", "note")

_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEY = re.compile(r"[0-9a-f]{8}")
_TIME = re.compile(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d\+00:00")
_METHOD = re.compile(r"[A-Za-z0-9_+(),=.:\[\] -]{1,200}")
_FILE = re.compile(r"[a-z]{1,20}\.(json|jsonl|html|safetensors|png)")


@dataclass(frozen=True)
class ModelHashes:
    """The models before and after a request.

    Args:
        original: Keyed hash of the weights that the request was made to.
        unlearned: Keyed hash of the weights that answer it.
    """

    original: str
    unlearned: str

    def __post_init__(self) -> None:
        check_digests(original=self.original, unlearned=self.unlearned)


@dataclass(frozen=True)
class BudgetRecord:
    """The share of a utility budget that one request took.

    Args:
        unit: ``points`` of accuracy, ``relative loss`` (.01 is a hundredth more) or ``own metric``, in its own unit.
        drop: What was measured; negative if the model got better. Default: nothing was.
        bound: Upper confidence bound on it, from a certify split. Default: nothing is certified.
        level: δ: the bound may be missed with at most this probability. Default: as ``bound``.
        examples: How many examples were measured on. Default: unknown.
        split: Keyed hash of the set of held-out examples, whatever their order. Default: as ``bound``.
        budget: What the request was allowed. Default: nothing was agreed.
        since: Whether drop and bound are against the model that the ``request`` was made to, or against the one that
            the ``stream`` of requests began with. Default ``request``.
        exact: Whether the bound is missed no more often than its level says, or about as often. Default true.
        opened: Every held-out example that was measured on, control examples too, by ``pack_marks``: later requests
            that hold out one of them do not have fresh data. Default: none, or those of an earlier entry with this
            ``split``.

    Raises:
        DataError: If a number is not one, or a bound comes without its level and its split.
    """

    unit: BudgetUnit
    drop: float | None = None
    bound: float | None = None
    level: float | None = None
    examples: int | None = None
    split: str | None = None
    budget: float | None = None
    since: BaselineKind = "request"
    exact: bool = True
    opened: str = ""

    def __post_init__(self) -> None:
        check(self.unit, f"one of {', '.join(get_args(BudgetUnit))}", lambda unit: unit in get_args(BudgetUnit))
        check(self.since, "request or stream", lambda since: since in get_args(BaselineKind))
        for number in (self.drop, self.bound, self.budget):
            check(number, "a finite number", lambda value: value is None or is_number(value))
        check(
            self.level, "a level between 0 and 1", lambda value: value is None or (is_number(value) and 0 < value < 1)
        )
        check(self.examples, "a number of examples", lambda value: value is None or is_count(value))
        check(self.exact, "exact as true or false", lambda value: isinstance(value, bool))
        check(self.opened, "packed keyed hashes", is_packed_hashes)
        check_digests(split=self.split or "0" * 64)
        all_or_none = len({part is None for part in (self.bound, self.level, self.split)}) == 1
        check(self.bound, "a bound with its level and its split", lambda _: all_or_none)


@dataclass(frozen=True)
class Header:
    """The part of an entry that stays.

    Args:
        kind: ``request``, ``purge`` of a run folder, or ``redaction`` of an earlier entry.
        done: When it was done, ISO 8601 in UTC to the second.
        key: Which key the hashes are under, by ``expunge.key.key_id``.
        models: Before and after; of requests only.
        spent: The share of the budget; of requests only. Default none.
        of: Number of the earlier entry that a purge or redaction is about. Default none.
        states: Keyed hashes of the same models as they are in memory, where ``models`` is of files. Default none.

    Raises:
        DataError: If a part has another form.
    """

    kind: EntryKind
    done: str
    key: str
    models: ModelHashes | None = None
    spent: BudgetRecord | None = None
    of: int | None = None
    states: ModelHashes | None = None

    def __post_init__(self) -> None:
        check(self.kind, f"one of {', '.join(get_args(EntryKind))}", lambda kind: kind in get_args(EntryKind))
        check(self.done, "a time in UTC", matches(_TIME))
        check(self.key, "the name of a key, 8 hex digits", matches(_KEY))
        check(self.models, "two models in a request alone", lambda value: (value is not None) == self.is_request)
        check(self.spent, "a share of the budget in a request alone", lambda value: value is None or self.is_request)
        check(self.states, "states of the models in a request alone", lambda value: value is None or self.is_request)
        check(self.of, "the number of an earlier entry", lambda value: value is None or (is_count(value) and value > 0))
        check(self.of, "a redaction of an entry", lambda value: value is not None or self.kind != "redaction")

    @property
    def is_request(self) -> bool:
        """Whether it is about a request."""
        return self.kind == "request"

    @property
    def originals(self) -> frozenset[str]:
        """Every keyed hash of the model that the request was made to: of its file and of its state."""
        return frozenset(pair.original for pair in (self.models, self.states) if pair is not None)

    @property
    def answers(self) -> frozenset[str]:
        """Every keyed hash of the model that answered the request."""
        return frozenset(pair.unlearned for pair in (self.models, self.states) if pair is not None)


@dataclass(frozen=True)
class RequestRecord:
    """What was to be forgotten, in keyed hashes.

    Args:
        forgotten: Keyed hash of the set of examples, by what they hold.
        data: Keyed hash of the training set.
        kind: ``class``, ``fraction``, ``indices``, ``ids``, ``predicate`` or ``concept``.
        forget: How many examples were forgotten.
        retain: How many were retained.
    """

    forgotten: str
    data: str
    kind: RequestKind
    forget: int
    retain: int

    def __post_init__(self) -> None:
        check_digests(forgotten=self.forgotten, data=self.data)
        check(self.kind, f"one of {', '.join(get_args(RequestKind))}", lambda kind: kind in get_args(RequestKind))
        for count in (self.forget, self.retain):
            check(count, "a number of examples", is_count)

    def is_same_request(self, other: RequestRecord) -> bool:
        """Return whether both ask for the same examples to be forgotten, whatever else is in their data sets."""
        return self.forgotten == other.forgotten


@dataclass(frozen=True)
class Content:
    """The part of an entry that can be redacted.

    Args:
        asked: What was to be forgotten; of requests only. Default none.
        method: The method by its registered name or composition. Default none.
        evidence: Name of a file in the run folder → keyed hash of it. Default none.
        forgotten: Each forgotten example by itself. Default none, as in entries of earlier versions.
        note: ``title``, ``ticket`` and ``requester`` of the request → keyed hash of it. Default none.
    """

    asked: RequestRecord | None = None
    method: str | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)
    forgotten: ForgottenHashes | None = None
    note: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self.method, "a method's name", lambda value: value is None or matches(_METHOD)(value))
        check(self.evidence, f"at most {MAX_FILES} files", lambda files: isinstance(files, dict))
        check(len(self.evidence), f"at most {MAX_FILES} files", lambda count: count <= MAX_FILES)
        for name in self.evidence:
            check(name, "the name of a file that a run writes", matches(_FILE))
        check_digests(**self.evidence)
        check(self.note, "a note of a request", lambda note: isinstance(note, dict) and note.keys() <= set(NOTE_KEYS))
        check_digests(**self.note)
        for text in () if self.forgotten is None else asdict(self.forgotten).values():
            check(text, "packed keyed hashes", is_packed_hashes)


@dataclass(frozen=True)
class LedgerEntry:
    """One entry of a ledger.

    Args:
        number: Its place, from 1.
        header: What stays.
        content: What can be redacted; None if it was.
        hash: The chain's hash up to and with this entry.
    """

    number: int
    header: Header
    content: Content | None
    hash: str

    @property
    def forgotten(self) -> ForgottenHashes | None:
        """What the request forgot, one by one; None where that was redacted, or an earlier version did not say it."""
        return None if self.content is None else self.content.forgotten


def serialize(part: Header | Content) -> str:
    """Return a part as the text that is stored and hashed: JSON with sorted keys, in ASCII.

    Examples:
        >>> serialize(Content(method="eupmu"))
        '{"asked":null,"evidence":{},"method":"eupmu"}'
    """
    # Later fields are written where they say something, so that what says nothing new reads as it always did.
    values = {name: value for name, value in asdict(part).items() if name not in OPTIONAL_FIELDS or value}
    if values.get("spent") and not values["spent"]["opened"]:
        del values["spent"]["opened"]
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)


def read_header(text: str) -> Header:
    """Return the header that a text holds."""
    raw = parse_mapping(text, MAX_CONTENT_LENGTH)
    kinds: dict[str, Callable[..., Any]] = {"models": ModelHashes, "spent": BudgetRecord, "states": ModelHashes}
    return deserialize(Header, {**raw, **{name: deserialize_part(kind, raw.get(name)) for name, kind in kinds.items()}})


def read_content(text: str) -> Content:
    """Return the content that a text holds."""
    raw = parse_mapping(text, MAX_CONTENT_LENGTH)
    parts = {
        "asked": deserialize_part(RequestRecord, raw.get("asked")),
        "forgotten": deserialize_part(ForgottenHashes, raw.get("forgotten")),
    }
    return deserialize(Content, {**raw, **parts})


def deserialize_part(kind: Callable[..., T], raw: Any) -> T | None:
    """Return a part of an entry from plain values; None stays None."""
    if raw is None:
        return None
    check(raw, "a mapping", lambda value: isinstance(value, dict))
    return deserialize(kind, raw)


def deserialize(kind: Callable[..., T], values: dict[str, Any]) -> T:
    """Return a part from its values; unknown and missing ones are refused."""
    try:
        return kind(**values)
    except TypeError as error:
        raise entry_error("the keys of an entry", "others") from error


def parse_mapping(text: str, max_length: int) -> dict[str, Any]:
    check(len(text), f"at most {max_length} characters", lambda length: length <= max_length)
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise entry_error("JSON", "something else") from error
    check(raw, "a mapping", lambda value: isinstance(value, dict))
    return dict(raw)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_packed_hashes(value: Any) -> bool:
    try:
        return isinstance(value, str) and unpack_hash_prefixes(value) is not None
    except ValueError:
        return False


def is_count(value: Any) -> bool:
    """Return whether a value is a whole number that a count can be."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def matches(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    """Return a check that a value is a text of this form as a whole."""
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def check_digests(**digests: str) -> None:
    """Refuse what is not 64 hex digits."""
    for name, digest in digests.items():
        check(digest, f"a keyed hash of 64 hex digits for '{name}'", matches(_DIGEST))


def check(value: Any, expected: str, is_valid: Callable[[Any], bool]) -> None:
    """Refuse a value that does not fit."""
    if not is_valid(value):
        raise entry_error(expected, f"{type(value).__name__} {str(value)[:40]!r}")


def entry_error(expected: str, actual: str) -> DataError:
    """Return the error for what no entry may say; it never repeats more than the beginning of it."""
    return DataError(f"{expected} in an entry of the ledger", actual, "record hashes, counts and figures only")
