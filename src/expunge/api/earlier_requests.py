"""What earlier requests of a chain forgot: found in today's data by keyed hashes, and left out of what is learned.

A chain is a series of requests of which each was made to the model that answered the one before. A method learns from
the retained examples, so one of them that an earlier request forgot would come back; a held-out or test example of a
class that is gone would count its coming back as a gain.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge.api.digests import hmac_digest
from expunge.api.exclusion_warnings import (
    beside_sentence,
    describe_foreign_entry,
    describe_missing_ids,
    describe_unknown_entry,
)
from expunge.batch import Examples
from expunge.data import (
    Subset,
    combine_hashes,
    find_members,
    get_ids,
    get_root,
    hash_cache,
    hash_example_ids,
    hash_examples,
    list_groups,
    pair_hashes,
)
from expunge.data.hashing import Hashes
from expunge.errors import RequestError
from expunge.formatting import format_classes
from expunge.ledger import ForgottenHashes, LedgerEntry, find_earlier_requests, pack_hash_prefixes, unpack_hash_prefixes
from expunge.ledger.forgotten_hashes import HASH_PREFIX_BYTES, MAX_HASHES
from expunge.pair import Pair

if TYPE_CHECKING:
    from expunge.api.loading import RequestData

Marks = NDArray[np.uint64]
"""The first eight bytes of keyed hashes."""


@dataclass(frozen=True)
class EarlierRequest:
    """An earlier request as far as what it forgot is in today's data.

    Args:
        entry: Its number in the ledger; None for what ``exclude`` names.
        positions: Of the examples in the training data that it forgot, ``(k,)`` int64.
        classes: Labels of the classes that it forgot as a whole.
        train: The same examples, to measure on.
        held_out: Held-out and test examples of its classes.
        prompts: Those of today's request that name its concepts.
    """

    entry: int | None
    positions: Tensor
    classes: tuple[int, ...] = ()
    train: Examples | None = None
    held_out: tuple[Examples, ...] = ()
    prompts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exclusions:
    """What a run leaves out because earlier requests forgot it.

    Args:
        earlier: The earlier requests.
        retain: How many examples are not retained.
        holdout: How many are not held out.
        test: How many are not tested on.
        unknown: Numbers of earlier entries that do not say what they forgot.
        copies: Sentences on copies that are left out too, whatever was forgotten before.
        foreign_entries: Of a model that the ledger does not know: entry → how many retained examples it forgot.
        without_ids: Numbers of earlier entries that forgot ids, where the data have none.
        beside: Of entries that this request does not follow, though they began with the same model: how many of the
            retained examples they forgot.
    """

    earlier: tuple[EarlierRequest, ...] = ()
    retain: int = 0
    holdout: int = 0
    test: int = 0
    unknown: tuple[int, ...] = ()
    copies: tuple[str, ...] = ()
    foreign_entries: Mapping[int, int] = field(default_factory=dict)
    without_ids: tuple[int, ...] = ()
    beside: Mapping[int, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether there is an earlier request at all."""
        return bool(self.earlier or self.unknown or self.foreign_entries or self.beside)

    @property
    def sizes(self) -> dict[str, int]:
        """How many examples of each part are left out."""
        return {"retain": self.retain, "holdout": self.holdout, "test": self.test}

    @property
    def classes(self) -> list[int]:
        """Labels of the classes that earlier requests forgot as a whole."""
        return sorted({label for one in self.earlier for label in one.classes})

    def sentences(self, class_names: Sequence[str] = ()) -> list[str]:
        """Return what is left out and what cannot be, a sentence each; classes by their names where they are known."""
        counts = ", ".join(f"{count:,} of {part}" for part, count in self.sizes.items() if count)
        class_phrase = f", with all of {format_classes(self.classes, class_names)}" if self.classes else ""
        summary = f"Left out, because earlier requests forgot it: {counts}{class_phrase}." if counts else ""
        others = [describe_foreign_entry(*one) for one in self.foreign_entries.items()]
        others += [beside_sentence(*one) for one in self.beside.items()]
        unknown_sentences = [*map(describe_unknown_entry, self.unknown), *map(describe_missing_ids, self.without_ids)]
        return [*([summary] if summary else []), *unknown_sentences, *others, *self.copies]


NO_EXCLUSIONS = Exclusions()


def build_forgotten_hashes(forget: Examples, retain: Examples, key: bytes) -> ForgottenHashes:
    """Return what an entry says of each forgotten example, in keyed hashes.

    Examples, classes and ids are those of which nothing is retained: where a retained example holds the same, what it
    holds does not tell which of the two is to be left out later.
    """
    if len(forget) > MAX_HASHES:
        hint = "split the request, or leave out the ledger"
        raise RequestError(f"at most {MAX_HASHES:,} forgotten examples with a ledger", f"{len(forget):,}", hint)
    classes = set(forget.targets.tolist()) - set(retain.targets.tolist())
    ids, retained_ids = hash_example_ids(forget, key), hash_example_ids(retain, key)
    forgotten_ids = ids if ids is None or retained_ids is None else ids[~np.isin(ids, retained_ids)]
    examples, others = hash_examples(forget, key), hash_examples(retain, key)
    return ForgottenHashes(
        examples=pack_hashes(examples[~np.isin(examples, others)]),
        ids="" if forgotten_ids is None else pack_hashes(forgotten_ids),
        classes=pack_hash_prefixes(mark_class(label, key) for label in classes),
    )


def hash_forgotten(forget: Examples, retain: Examples, key: bytes) -> str:
    """Return the keyed hash of the set of forgotten examples, by what they hold.

    Their ids are taken in too where a retained example holds the same as one of them: rows of two people may agree.
    """
    hashes, ids = hash_examples(forget, key), hash_example_ids(forget, key)
    if ids is not None and np.isin(hashes, hash_examples(retain, key)).any():
        return combine_hashes(pair_hashes(hashes, ids), key)
    return combine_hashes(hashes, key)


def pack_hashes(hashes: Hashes) -> str:
    """Return an array of hashes as an entry holds them."""
    raw, size = hashes.tobytes(), hashes.dtype.itemsize
    return pack_hash_prefixes(raw[start : start + size] for start in range(0, len(raw), size))


def mark_class(label: int, key: bytes) -> bytes:
    """Return the mark of a class, as an entry holds it."""
    return bytes.fromhex(hmac_digest(key, "class", [str(label).encode()]))[:HASH_PREFIX_BYTES]


def mark_concept(text: str, key: bytes) -> bytes:
    """Return the mark of a concept's name or a prompt; capitals, spaces and punctuation do not count."""
    words = " ".join(_split_words(text)).encode("utf-8", "surrogatepass")
    return bytes.fromhex(hmac_digest(key, "concept", [words]))[:HASH_PREFIX_BYTES]


def build_concept_hashes(texts: Iterable[str], key: bytes) -> ForgottenHashes:
    """Return what an entry says of forgotten concepts: of their names and of their prompts."""
    return ForgottenHashes(concepts=pack_hash_prefixes(mark_concept(text, key) for text in texts))


def find_forgotten_prompts(texts: Iterable[str], forgotten: ForgottenHashes, key: bytes) -> list[str]:
    """Return those of some prompts that name a forgotten concept.

    They do if a run of words in them is the concept's name or one of its prompts.
    """
    marks = set(unpack_hash_prefixes(forgotten.concepts))
    return [text for text in texts if marks and any(mark_concept(run, key) in marks for run in iterate_phrases(text))]


def iterate_phrases(text: str) -> Iterator[str]:
    """Yield every run of words in a text, without the punctuation around it.

    Examples:
        >>> sorted(iterate_phrases("A dog, sleeping"))
        ['a', 'a dog', 'a dog sleeping', 'dog', 'dog sleeping', 'sleeping']
    """
    words = _split_words(text)
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            yield " ".join(words[start:end])


def _split_words(text: str) -> list[str]:
    return [word.strip(".,;:!?\"'()") for word in text.casefold().split()]


def find_label_names(examples: Examples) -> Sequence[str]:
    """Return the names of the labels, which are prompts where a model draws images; none where there are none."""
    return getattr(get_root(examples), "names", None) or ()


def _truncate_hashes(hashes: Hashes) -> Marks:
    """Return the first eight bytes of each hash of sixteen."""
    words: Marks = np.ascontiguousarray(hashes).view(np.uint64)
    return words[::2]


def _unpack_hashes(text: str) -> Marks:
    """Return the hashes in a text that an entry holds."""
    return np.frombuffer(base64.b64decode(text), np.uint64)


def trace_chain(entries: Sequence[LedgerEntry], *model: str) -> tuple[list[LedgerEntry], tuple[int, ...]]:
    """Return the earlier requests of a model's chain that say what they forgot, and the numbers of the others."""
    chain = find_earlier_requests(entries, *model)
    known_entries = [entry for entry in chain if entry.forgotten is not None]
    return known_entries, tuple(entry.number for entry in chain if entry.forgotten is None)


def find_forgotten(
    examples: Examples, entry: LedgerEntry, key: bytes, *, by_prompt: bool = False
) -> tuple[Tensor, tuple[int, ...]]:
    """Return the positions of the examples that an entry forgot, and the labels that it forgot as a whole."""
    forgotten = entry.forgotten or ForgottenHashes()
    if by_prompt:
        names = find_label_names(examples)
        forgotten_names = set(find_forgotten_prompts(names, forgotten, key))
        return find_class_positions(
            examples, [label for label, name in enumerate(names) if name in forgotten_names]
        ), ()
    classes = find_forgotten_classes(list_groups(examples), [entry], key)
    chosen = _class_mask(examples, classes).numpy()
    chosen |= np.isin(_truncate_hashes(hash_examples(examples, key)), _unpack_hashes(forgotten.examples))
    ids = hash_example_ids(examples, key) if forgotten.ids else None
    if ids is not None:
        chosen |= np.isin(_truncate_hashes(ids), _unpack_hashes(forgotten.ids))
    return torch.from_numpy(chosen.nonzero()[0]), classes


def find_forgotten_classes(labels: Iterable[int], entries: Sequence[LedgerEntry], key: bytes) -> tuple[int, ...]:
    """Return those of some labels that one of the entries forgot as a whole."""
    class_marks = {
        mark for entry in entries if entry.forgotten for mark in unpack_hash_prefixes(entry.forgotten.classes)
    }
    return tuple(label for label in labels if class_marks and mark_class(label, key) in class_marks)


def find_entries_without_ids(examples: Examples, entries: Sequence[LedgerEntry]) -> tuple[int, ...]:
    """Return the numbers of the entries that know ids, where some examples have none; no numbers where they have."""
    if get_ids(examples) is not None:
        return ()
    return tuple(entry.number for entry in entries if entry.forgotten is not None and entry.forgotten.ids)


def find_earlier(examples: Examples, entries: Sequence[LedgerEntry], key: bytes) -> list[EarlierRequest]:
    """Return what entries forgot, as far as it is among some training examples."""
    with hash_cache():
        return [EarlierRequest(entry.number, *find_forgotten(examples, entry, key)) for entry in entries]


def exclude_forgotten(
    parts: RequestData, earlier: Sequence[EarlierRequest], unknown: Sequence[int] = ()
) -> RequestData:
    """Return the data of a request without what earlier requests forgot.

    Retained examples are left out one by one; held-out and test examples where their class is gone as a whole.
    """
    if not earlier and not unknown:
        return parts
    classes = sorted({label for one in earlier for label in one.classes})
    retain, positions = parts.positions.retain, [one.positions for one in earlier]
    remaining = retain[~torch.isin(retain, torch.cat([*positions, torch.empty(0, dtype=torch.int64)]))]
    test, excluded_test = exclude_classes(parts.source.test, classes, "test")
    holdout, excluded_holdout = (
        (None, 0) if parts.holdout is None else exclude_classes(parts.holdout, classes, "holdout")
    )
    if not len(remaining):
        raise nothing_left_error("retain")
    evaluation_parts = [part for part in (parts.source.test, parts.holdout) if part is not None]
    requests = [
        EarlierRequest(
            one.entry,
            one.positions,
            one.classes,
            Subset(parts.source.train, one.positions) if len(one.positions) else None,
            tuple(only for part in evaluation_parts if len(only := select_classes(part, one.classes))),
        )
        for one in earlier
    ]
    before = parts.left_out
    return parts._replace(
        source=parts.source if not excluded_test else replace(parts.source, test=test),
        holdout=holdout,
        positions=Pair(parts.positions.forget, remaining),
        left_out=Exclusions(
            (*before.earlier, *requests),
            before.retain + len(retain) - len(remaining),
            before.holdout + excluded_holdout,
            before.test + excluded_test,
            (*before.unknown, *unknown),
            before.copies,
            before.foreign_entries,
            before.without_ids,
            before.beside,
        ),
    )


def exclude_earlier(examples: Examples, earlier: Sequence[EarlierRequest]) -> Examples:
    """Return training examples without those that earlier requests forgot; the same ones if there are none."""
    excluded = [one.positions for one in earlier if len(one.positions)]
    if not excluded:
        return examples
    positions = torch.arange(len(examples))
    return Subset(examples, positions[~torch.isin(positions, torch.cat(excluded))])


def select_classes(examples: Examples, classes: Sequence[int]) -> Subset:
    return Subset(examples, find_class_positions(examples, classes))


def find_class_positions(examples: Examples, classes: Sequence[int]) -> Tensor:
    return _class_mask(examples, classes).nonzero().flatten()


def _class_mask(examples: Examples, classes: Sequence[int]) -> Tensor:
    return find_members(examples, classes)


def exclude_classes(examples: Examples, classes: Sequence[int], part: str) -> tuple[Examples, int]:
    """Return the examples without some classes, and how many were left out; the same ones if none was."""
    excluded = _class_mask(examples, classes)
    count = int(excluded.sum())
    if not count:
        return examples, 0
    if count == len(examples):
        raise nothing_left_error(part)
    return Subset(examples, (~excluded).nonzero().flatten()), count


def nothing_left_error(part: str) -> RequestError:
    """Return the error for a part that earlier requests forgot as a whole."""
    hint = "there is nothing left to learn from; delete the model"
    return RequestError(f"at least one example of {part}", "none that no earlier request forgot", hint)
