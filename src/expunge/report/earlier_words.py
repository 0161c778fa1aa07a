"""What is said of earlier requests of a chain: what was left out for them, and whether what they forgot comes back."""

from __future__ import annotations

from collections.abc import Sequence

from expunge.formatting import format_classes, format_count
from expunge.report.budget_words import Listing
from expunge.report.document import Earlier, Request
from expunge.report.numbers import join, write

ROLES = {"original": "before", "method": "after", "retrained": "retrained"}
"""Role of a model → what its column is called."""
PARTS = {
    "train": "forgotten examples",
    "held_out": "held-out examples of classes",
    "drawn": "images drawn of the classes",
}
"""Part of an earlier request → what its examples are called."""


def headline(request: Request) -> str:
    """Return that what earlier requests forgot comes back, where it does; else nothing."""
    risen = [name_of(one, request.classes) for one in request.earlier if one.rose]
    return f"What {join(risen)} forgot comes back. " if risen else ""


def answer(request: Request) -> str:
    """Return what was left out for earlier requests and what is remembered of them, in sentences."""
    return " ".join(
        [*left_out(request), *(remembered(one, request.classes) for one in request.earlier), *unknown(request)]
    )


def left_out(request: Request) -> list[str]:
    """Return how much was left out, as one sentence; nothing where nothing was."""
    if request.left_out is None:
        return []
    parts = {"retained": request.left_out.retain, "held-out": request.left_out.holdout, "test": request.left_out.test}
    told = [f"{format_count(size)} {name}" for name, size in parts.items() if size]
    what = "prompts" if request.kind == "concept" else "examples"
    return [f"{join(told)} {what} are left out, because earlier requests forgot them."] if told else []


def remembered(one: Earlier, class_names: Sequence[str] = ()) -> str:
    """Return how many of an earlier request's examples the models get right, as one sentence; nothing unmeasured."""
    if not one.parts:
        return f"Whether what {name_of(one, class_names)} forgot comes back was not measured."
    name, part = next(iter(one.parts.items()))
    before, after, reference = (part.accuracy.get(role) for role in ROLES)
    moved = f"is {write(after)} %" if before is None or after is None else change(before, after, one.rose)
    beside = "" if reference is None else f"; the retrained model's is {write(reference)} %"
    return f"Accuracy on {format_count(part.examples)} {PARTS[name]} of {name_of(one, class_names)} {moved}{beside}."


def change(before: float, after: float, rose: bool) -> str:
    """Return how an accuracy changed, and whether a rise is more than chance."""
    if write(before) == write(after):
        return f"stayed at {write(after)} %"
    verb = "fell" if after < before else "rose" if rose else "rose within chance"
    return f"{verb} from {write(before)} % to {write(after)} %"


def unknown(request: Request) -> list[str]:
    """Return which entries do not say what they forgot or may be of this chain, in sentences; nothing without any."""
    left = request.left_out
    if left is None:
        return []
    named = (left.unknown, left.elsewhere, left.without_ids, left.beside)
    lost, others, by_id, beside = (join([f"entry {number}" for number in numbers]) for numbers in named)
    told = [f"What {lost} of the ledger forgot is no longer known, so it is neither left out nor measured."]
    strange = f"The ledger does not know this model; {others} forgot some of the retained examples from another one."
    half = f"The data came without ids: examples that {by_id} forgot were found by what they hold alone."
    apart = f"This request does not follow {beside}, which forgot some of the retained examples: they stay learned."
    told = told if lost else []
    return [*told, *([strange] if others else []), *([half] if by_id else []), *([apart] if beside else [])]


def listing(request: Request) -> Listing | None:
    """Return the accuracies on earlier requests as a small table; None where there is none."""
    parts = [
        (f"{name_of(one, request.classes)}, {PARTS[part]}", found)
        for one in request.earlier
        for part, found in one.parts.items()
    ]
    roles = [role for role in ROLES if any(role in found.accuracy for _, found in parts)]
    rows = [
        (name, format_count(found.examples), *(write(found.accuracy.get(role)) for role in roles))
        for name, found in parts
    ]
    heads = ("Earlier request", "Examples", *(f"{ROLES[role]} (%)" for role in roles))
    return Listing(heads, tuple(rows), is_named=True) if rows else None


def name_of(one: Earlier, class_names: Sequence[str] = ()) -> str:
    """Return what an earlier request is called, with the classes that it forgot as a whole.

    Examples:
        >>> name_of(Earlier(entry=1, labels=(1, 2)), ["cat", "dog", "frog"]), name_of(Earlier(entry=2))
        ('entry 1 (classes dog and frog)', 'entry 2')
    """
    called = "the requests named by 'exclude'" if one.entry is None else f"entry {one.entry}"
    return f"{called} ({format_classes(one.labels, class_names)})" if one.labels else called
