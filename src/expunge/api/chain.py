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

from expunge.api.chain_warnings import (
    beside_sentence,
    elsewhere_sentence,
    unknown_sentence,
    without_ids_sentence,
)
from expunge.api.digests import keyed
from expunge.batch import Examples
from expunge.data import Subset, example_hashes, id_hashes, ids_of, pair_hashes, remembered_hashes, root_of, set_hash
from expunge.data.identity import Hashes
from expunge.errors import RequestError
from expunge.formatting import format_classes
from expunge.ledger import Entry, Forgotten, earlier_requests, pack_marks, unpack_marks
from expunge.ledger.forgotten import MARK_BYTES, MAX_MARKS
from expunge.pair import Pair

if TYPE_CHECKING:
    from expunge.api.reading import Parts

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
    """

    entry: int | None
    positions: Tensor
    classes: tuple[int, ...] = ()
    train: Examples | None = None
    held_out: tuple[Examples, ...] = ()


@dataclass(frozen=True)
class LeftOut:
    """What a run leaves out because earlier requests forgot it.

    Args:
        earlier: The earlier requests.
        retain: How many examples are not retained.
        holdout: How many are not held out.
        test: How many are not tested on.
        unknown: Numbers of earlier entries that do not say what they forgot.
        copies: Sentences on copies that are left out too, whatever was forgotten before.
        elsewhere: Of a model that the ledger does not know: entry → how many retained examples it forgot.
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
    elsewhere: Mapping[int, int] = field(default_factory=dict)
    without_ids: tuple[int, ...] = ()
    beside: Mapping[int, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether there is an earlier request at all."""
        return bool(self.earlier or self.unknown or self.elsewhere or self.beside)

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
        whole = f", with all of {format_classes(self.classes, class_names)}" if self.classes else ""
        left = f"Left out, because earlier requests forgot it: {counts}{whole}." if counts else ""
        others = [elsewhere_sentence(*one) for one in self.elsewhere.items()]
        others += [beside_sentence(*one) for one in self.beside.items()]
        lost = [*map(unknown_sentence, self.unknown), *map(without_ids_sentence, self.without_ids)]
        return [*([left] if left else []), *lost, *others, *self.copies]


NOTHING_LEFT_OUT = LeftOut()


def forgotten_of(forget: Examples, retain: Examples, key: bytes) -> Forgotten:
    """Return what an entry says of each forgotten example, in keyed hashes.

    Examples, classes and ids are those of which nothing is retained: where a retained example holds the same, what it
    holds does not tell which of the two is to be left out later.

    Args:
        forget: The forgotten examples.
        retain: The retained ones.
        key: The secret.

    Raises:
        RequestError: If there are more of them than an entry can hold.
    """
    if len(forget) > MAX_MARKS:
        cure = "split the request, or leave out the ledger"
        raise RequestError(f"at most {MAX_MARKS:,} forgotten examples with a ledger", f"{len(forget):,}", cure)
    classes = set(forget.targets.tolist()) - set(retain.targets.tolist())
    ids, kept = id_hashes(forget, key), id_hashes(retain, key)
    gone = ids if ids is None or kept is None else ids[~np.isin(ids, kept)]
    examples, others = example_hashes(forget, key), example_hashes(retain, key)
    return Forgotten(
        examples=pack_hashes(examples[~np.isin(examples, others)]),
        ids="" if gone is None else pack_hashes(gone),
        classes=pack_marks(class_mark(label, key) for label in classes),
    )


def forgotten_hash(forget: Examples, retain: Examples, key: bytes) -> str:
    """Return the keyed hash of the set of forgotten examples, by what they hold.

    Their ids are taken in too where a retained example holds the same as one of them: rows of two people may agree.

    Args:
        forget: The forgotten examples.
        retain: The retained ones.
        key: The secret.
    """
    hashes, ids = example_hashes(forget, key), id_hashes(forget, key)
    if ids is not None and np.isin(hashes, example_hashes(retain, key)).any():
        return set_hash(pair_hashes(hashes, ids), key)
    return set_hash(hashes, key)


def pack_hashes(hashes: Hashes) -> str:
    """Return an array of hashes as an entry holds them."""
    raw, size = hashes.tobytes(), hashes.dtype.itemsize
    return pack_marks(raw[start : start + size] for start in range(0, len(raw), size))


def class_mark(label: int, key: bytes) -> bytes:
    """Return the mark of a class, as an entry holds it."""
    return bytes.fromhex(keyed(key, "class", [str(label).encode()]))[:MARK_BYTES]


def concept_mark(text: str, key: bytes) -> bytes:
    """Return the mark of a concept's name or a prompt; capitals, spaces and punctuation do not count."""
    words = " ".join(_words(text)).encode("utf-8", "surrogatepass")
    return bytes.fromhex(keyed(key, "concept", [words]))[:MARK_BYTES]


def concepts_forgotten(texts: Iterable[str], key: bytes) -> Forgotten:
    """Return what an entry says of forgotten concepts: of their names and of their prompts."""
    return Forgotten(concepts=pack_marks(concept_mark(text, key) for text in texts))


def naming_forgotten(texts: Iterable[str], forgotten: Forgotten, key: bytes) -> list[str]:
    """Return those of some prompts that name a forgotten concept.

    They do if a run of words in them is the concept's name or one of its prompts.
    """
    marks = set(unpack_marks(forgotten.concepts))
    return [text for text in texts if marks and any(concept_mark(run, key) in marks for run in runs_of_words(text))]


def runs_of_words(text: str) -> Iterator[str]:
    """Yield every run of words in a text, without the punctuation around it.

    Examples:
        >>> sorted(runs_of_words("A dog, sleeping"))
        ['a', 'a dog', 'a dog sleeping', 'dog', 'dog sleeping', 'sleeping']
    """
    words = _words(text)
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            yield " ".join(words[start:end])


def _words(text: str) -> list[str]:
    return [word.strip(".,;:!?\"'()") for word in text.casefold().split()]


def label_names(examples: Examples) -> Sequence[str]:
    """Return the names of the labels, which are prompts where a model draws images; none where there are none."""
    return getattr(root_of(examples), "names", None) or ()


def _marks_of(hashes: Hashes) -> Marks:
    """Return the first eight bytes of each hash of sixteen."""
    halves: Marks = np.ascontiguousarray(hashes).view(np.uint64)
    return halves[::2]


def _marks_in(text: str) -> Marks:
    """Return the hashes in a text that an entry holds."""
    return np.frombuffer(base64.b64decode(text), np.uint64)


def trace_chain(entries: Sequence[Entry], *model: str) -> tuple[list[Entry], tuple[int, ...]]:
    """Return the earlier requests of a model's chain that say what they forgot, and the numbers of those that do not.

    Args:
        entries: Of the ledger.
        model: Keyed hashes of the model.
    """
    chain = earlier_requests(entries, *model)
    known = [entry for entry in chain if entry.forgotten is not None]
    return known, tuple(entry.number for entry in chain if entry.forgotten is None)


def find_forgotten(
    examples: Examples, entry: Entry, key: bytes, *, by_prompt: bool = False
) -> tuple[Tensor, tuple[int, ...]]:
    """Return the positions of the examples that an entry forgot, and the labels that it forgot as a whole.

    Args:
        examples: Any examples.
        entry: It says what it forgot.
        key: The secret.
        by_prompt: Whether an example was forgotten if its prompt names a forgotten concept. Default: if the example or
            its id is known, or its class was forgotten as a whole.
    """
    forgotten = entry.forgotten or Forgotten()
    if by_prompt:
        names = label_names(examples)
        lost = set(naming_forgotten(names, forgotten, key))
        return positions_of_classes(examples, [label for label, name in enumerate(names) if name in lost]), ()
    classes = find_forgotten_classes(examples.targets.unique().tolist(), [entry], key)
    chosen = _are_of(examples, classes).numpy()
    chosen |= np.isin(_marks_of(example_hashes(examples, key)), _marks_in(forgotten.examples))
    ids = id_hashes(examples, key) if forgotten.ids else None
    if ids is not None:
        chosen |= np.isin(_marks_of(ids), _marks_in(forgotten.ids))
    return torch.from_numpy(chosen.nonzero()[0]), classes


def find_forgotten_classes(labels: Iterable[int], entries: Sequence[Entry], key: bytes) -> tuple[int, ...]:
    """Return those of some labels that one of the entries forgot as a whole."""
    gone = {mark for entry in entries if entry.forgotten for mark in unpack_marks(entry.forgotten.classes)}
    return tuple(label for label in labels if gone and class_mark(label, key) in gone)


def entries_without_ids(examples: Examples, entries: Sequence[Entry]) -> tuple[int, ...]:
    """Return the numbers of the entries that know ids, where some examples have none; no numbers where they have."""
    if ids_of(examples) is not None:
        return ()
    return tuple(entry.number for entry in entries if entry.forgotten is not None and entry.forgotten.ids)


def find_earlier(examples: Examples, entries: Sequence[Entry], key: bytes) -> list[EarlierRequest]:
    """Return what entries forgot, as far as it is among some training examples."""
    with remembered_hashes():
        return [EarlierRequest(entry.number, *find_forgotten(examples, entry, key)) for entry in entries]


def leave_out(parts: Parts, earlier: Sequence[EarlierRequest], unknown: Sequence[int] = ()) -> Parts:
    """Return the data of a request without what earlier requests forgot.

    Retained examples are left out one by one; held-out and test examples where their class is gone as a whole.

    Args:
        parts: The data.
        earlier: What was forgotten.
        unknown: Numbers of entries that do not say what they forgot.

    Raises:
        RequestError: If nothing is left to retain, to hold out or to test on.
    """
    if not earlier and not unknown:
        return parts
    classes = sorted({label for one in earlier for label in one.classes})
    retain, positions = parts.positions.retain, [one.positions for one in earlier]
    kept = retain[~torch.isin(retain, torch.cat([*positions, torch.empty(0, dtype=torch.int64)]))]
    test, tested = without_classes(parts.source.test, classes, "test")
    holdout, held = (None, 0) if parts.holdout is None else without_classes(parts.holdout, classes, "holdout")
    if not len(kept):
        raise nothing_left("retain")
    whole = [part for part in (parts.source.test, parts.holdout) if part is not None]
    shown = [
        EarlierRequest(
            one.entry,
            one.positions,
            one.classes,
            Subset(parts.source.train, one.positions) if len(one.positions) else None,
            tuple(only for part in whole if len(only := of_classes(part, one.classes))),
        )
        for one in earlier
    ]
    before = parts.left_out
    return parts._replace(
        source=parts.source if not tested else replace(parts.source, test=test),
        holdout=holdout,
        positions=Pair(parts.positions.forget, kept),
        left_out=LeftOut(
            (*before.earlier, *shown),
            before.retain + len(retain) - len(kept),
            before.holdout + held,
            before.test + tested,
            (*before.unknown, *unknown),
            before.copies,
            before.elsewhere,
            before.without_ids,
            before.beside,
        ),
    )


def without(examples: Examples, earlier: Sequence[EarlierRequest]) -> Examples:
    """Return training examples without those that earlier requests forgot; the same ones if there are none."""
    gone = [one.positions for one in earlier if len(one.positions)]
    if not gone:
        return examples
    places = torch.arange(len(examples))
    return Subset(examples, places[~torch.isin(places, torch.cat(gone))])


def of_classes(examples: Examples, classes: Sequence[int]) -> Subset:
    """Return the examples of some classes."""
    return Subset(examples, positions_of_classes(examples, classes))


def positions_of_classes(examples: Examples, classes: Sequence[int]) -> Tensor:
    """Return the positions of the examples of some classes."""
    return _are_of(examples, classes).nonzero().flatten()


def _are_of(examples: Examples, classes: Sequence[int]) -> Tensor:
    """Return which examples are of some classes."""
    return torch.isin(examples.targets, torch.tensor(classes, dtype=torch.int64))


def without_classes(examples: Examples, classes: Sequence[int], part: str) -> tuple[Examples, int]:
    """Return the examples without some classes, and how many were left out; the same ones if none was.

    Raises:
        RequestError: If none is left.
    """
    gone = _are_of(examples, classes)
    count = int(gone.sum())
    if not count:
        return examples, 0
    if count == len(examples):
        raise nothing_left(part)
    return Subset(examples, (~gone).nonzero().flatten()), count


def nothing_left(part: str) -> RequestError:
    """Return the error for a part that earlier requests forgot as a whole."""
    cure = "there is nothing left to learn from; delete the model"
    return RequestError(f"at least one example of {part}", "none that no earlier request forgot", cure)
