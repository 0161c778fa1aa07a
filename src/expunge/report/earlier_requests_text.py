"""What is said of earlier requests of a chain: what was left out for them, and whether what they forgot comes back."""

from __future__ import annotations

from collections.abc import Sequence

from expunge.formatting import format_classes, format_count
from expunge.report.budget_text import TextTable
from expunge.report.document import EarlierSection, RequestSection
from expunge.report.numbers import format_metric, join_words

ROLE_LABELS = {"original": "before", "method": "after", "retrained": "retrained"}
"""Role of a model → what its column is called."""
PART_LABELS = {
    "train": "forgotten examples",
    "held_out": "held-out examples of classes",
    "drawn": "images drawn of the classes",
}
"""Part of an earlier request → what its examples are called."""


def describe_returned(request: RequestSection) -> str:
    """Return that what earlier requests forgot comes back, where it does; else nothing."""
    returned = [format_name(one, request.classes) for one in request.earlier if one.rose]
    return f"What {join_words(returned)} forgot comes back. " if returned else ""


def describe_earlier_requests(request: RequestSection) -> str:
    """Return what was left out for earlier requests and what is remembered of them, in sentences."""
    return " ".join(
        [
            *describe_left_out(request),
            *(describe_remembered(one, request.classes) for one in request.earlier),
            *describe_unknown(request),
        ]
    )


def describe_left_out(request: RequestSection) -> list[str]:
    """Return how much was left out, as one sentence; nothing where nothing was."""
    if request.left_out is None:
        return []
    parts = {"retained": request.left_out.retain, "held-out": request.left_out.holdout, "test": request.left_out.test}
    counts = [f"{format_count(size)} {name}" for name, size in parts.items() if size]
    what = "prompts" if request.kind == "concept" else "examples"
    return [f"{join_words(counts)} {what} are left out, because earlier requests forgot them."] if counts else []


def describe_remembered(one: EarlierSection, class_names: Sequence[str] = ()) -> str:
    """Return how many of an earlier request's examples the models get right, as one sentence; nothing unmeasured."""
    if one.noise is not None:
        prompts = f"{format_count(one.noise.prompts)} prompts of {format_name(one, class_names)}"
        change, kept = format_metric(one.noise.change), format_metric(one.noise.kept_change)
        return f"The noise predicted for {prompts} changed by {change} %, that for kept prompts by {kept} %."
    if not one.parts:
        return f"Whether what {format_name(one, class_names)} forgot comes back was not measured."
    name, part = next(iter(one.parts.items()))
    before, after, reference = (part.accuracy.get(role) for role in ROLE_LABELS)
    change_text = (
        f"is {format_metric(after)} %" if before is None or after is None else describe_change(before, after, one.rose)
    )
    reference_text = "" if reference is None else f"; the retrained model's is {format_metric(reference)} %"
    examples = f"{format_count(part.examples)} {PART_LABELS[name]} of {format_name(one, class_names)}"
    return f"Accuracy on {examples} {change_text}{reference_text}."


def describe_change(before: float, after: float, rose: bool) -> str:
    """Return how an accuracy changed, and whether a rise is more than chance."""
    if format_metric(before) == format_metric(after):
        return f"stayed at {format_metric(after)} %"
    verb = "fell" if after < before else "rose" if rose else "rose within chance"
    return f"{verb} from {format_metric(before)} % to {format_metric(after)} %"


def describe_unknown(request: RequestSection) -> list[str]:
    """Return which entries do not say what they forgot or may be of this chain, in sentences; nothing without any."""
    exclusion = request.left_out
    if exclusion is None:
        return []
    named = (exclusion.unknown, exclusion.elsewhere, exclusion.without_ids, exclusion.beside)
    lost, others, by_id, beside = (join_words([f"entry {number}" for number in numbers]) for numbers in named)
    sentences = [f"What {lost} of the ledger forgot is no longer known, so it is neither left out nor measured."]
    foreign = f"The ledger does not know this model; {others} forgot some of the retained examples from another one."
    half = f"The data came without ids: examples that {by_id} forgot were found by what they hold alone."
    apart = f"This request does not follow {beside}, which forgot some of the retained examples: they stay learned."
    sentences = sentences if lost else []
    return [*sentences, *([foreign] if others else []), *([half] if by_id else []), *([apart] if beside else [])]


def earlier_table(request: RequestSection) -> TextTable | None:
    """Return what was measured of earlier requests as a small table; None where nothing was."""
    parts = [
        (f"{format_name(one, request.classes)}, {PART_LABELS[part]}", accuracy)
        for one in request.earlier
        for part, accuracy in one.parts.items()
    ]
    roles = [role for role in ROLE_LABELS if any(role in accuracy.accuracy for _, accuracy in parts)]
    rows = [
        (name, format_count(accuracy.examples), *(format_metric(accuracy.accuracy.get(role)) for role in roles))
        for name, accuracy in parts
    ]
    changes = [one for one in request.earlier if one.noise is not None]
    if changes and not rows:
        return noise_table(changes, request.classes)
    heads = ("Earlier request", "Examples", *(f"{ROLE_LABELS[role]} (%)" for role in roles))
    return TextTable(heads, tuple(rows), is_named=True) if rows else None


def noise_table(changes: Sequence[EarlierSection], class_names: Sequence[str]) -> TextTable:
    """Return how much the noise predicted for earlier requests' prompts changed, as a small table."""
    heads = ("Earlier request", "Prompts", "Change of the predicted noise (%)", "for kept prompts (%)")
    noises = [(format_name(one, class_names), one.noise) for one in changes if one.noise is not None]
    rows = (
        (name, format_count(noise.prompts), format_metric(noise.change), format_metric(noise.kept_change))
        for name, noise in noises
    )
    return TextTable(heads, tuple(rows), is_named=True)


def format_name(one: EarlierSection, class_names: Sequence[str] = ()) -> str:
    """Return what an earlier request is called, with the classes that it forgot as a whole.

    Examples:
        >>> format_name(EarlierSection(entry=1, labels=(1, 2)), ["cat", "dog", "frog"])
        'entry 1 (classes dog and frog)'
        >>> format_name(EarlierSection(entry=2))
        'entry 2'
    """
    called = "the requests named by 'exclude'" if one.entry is None else f"entry {one.entry}"
    return f"{called} ({format_classes(one.labels, class_names)})" if one.labels else called
