"""The first screen: what the numbers say, in sentences that claim no more than the numbers do."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from expunge.formatting import format_count, format_examples
from expunge.report import audit_words, earlier_words, generated
from expunge.report.audit_part import AuditPart
from expunge.report.certificate_words import bounds
from expunge.report.document import Request, Row
from expunge.report.headline import (
    Standing,
    chance,
    from_retrained,
    leader,
    overlapping,
    standing,
)
from expunge.report.numbers import join, write, write_with_half

NOT_SHOWN = (
    "This is approximate unlearning. Nothing here certifies that the examples' influence has been removed.",
    "Membership attacks here are simple ones on a whole population; an attack on single examples can find more.",
    "No figure here supports a conclusion about legal duties.",
)
"""What no report shows, whatever its numbers."""

MET, NOT_MET = "The request is met by its stop criterion", "The request is not met"
"""What a run with a budget knows of the forgetting without a retrained model."""

EARLIER = "Did earlier requests stay forgotten"

VERDICTS = {
    "not distinguishable": "Not distinguishable from held-out data",
    "still distinguishable": "Still distinguishable from held-out data",
}
"""What a test against held-out examples shows, where it shows something."""
UNKNOWN_DATA = "Nothing is shown, because the model did not know the data before the run"

FLOOR = "the noise floor (the gap between two retrained models"


@dataclass(frozen=True)
class Answer:
    """One question of the first screen with its answer."""

    question: str
    text: str


@dataclass(frozen=True)
class Brief:
    """A request in words."""

    verdict: str
    answers: tuple[Answer, ...]


def brief(request: Request) -> Brief:
    """Return the first screen's words for one request."""
    row = leader(request)
    return Brief(
        f"{earlier_words.headline(request)}{verdict(request, row)}",
        (
            Answer("What was asked", asked(request)),
            *([Answer("Do model and data belong together", request.misfit)] if request.misfit else []),
            Answer("Was it forgotten", forgotten(request, row)),
            Answer("What it cost", utility(request, row)),
            *([] if request.budget is None else [Answer("Was the budget kept", request.budget.sentence)]),
            *([] if request.audit is None else audit_answers(request.audit)),
            *([] if not earlier_words.answer(request) else [Answer(EARLIER, earlier_words.answer(request))]),
            Answer("How sure is this", sureness(request, row)),
        ),
    )


def audit_answers(audit: AuditPart) -> tuple[Answer, ...]:
    """Return what an audit adds to the first screen."""
    bound = Answer("What fresh examples would show", bounds(audit.certificate))
    return bound, Answer("Which weights moved", audit_words.moved(audit))


def verdict(request: Request, row: Row | None) -> str:
    """Return the first screen's words in brief."""
    if row is None:
        return "No method was run"
    if generated.is_generated(request):
        return generated.verdict(request)
    if request.is_unknown:
        return UNKNOWN_DATA
    told, shown = standing(request, row), distinguished(request, row)
    if told is Standing.NO_REFERENCE and shown:
        return f"{shown}. {told.value}"
    if told is not Standing.NO_REFERENCE or request.budget is None:
        return told.value
    return f"{MET if request.budget.reached else NOT_MET}. {told.value}"


def distinguished(request: Request, row: Row) -> str:
    """Return the verdict on forgotten against held-out data: that of the figures, else that of the run's budget."""
    handed = None if request.budget is None else request.budget.handed.test
    test = row.held_out or handed
    if test is None:
        return ""
    return (
        f"Cannot be decided with {format_examples(test.examples)}"
        if test.verdict == "undecided"
        else VERDICTS[test.verdict]
    )


def asked(request: Request) -> str:
    """Return what was to be forgotten, with how much that is and how many methods tried."""
    sizes = request.sizes
    whole = "" if sizes.train is None else f" of {format_count(sizes.train)}"
    methods = len(request.methods)
    tried = "one method" if methods == 1 else f"{methods} methods"
    what = "latents of images with their prompts" if request.kind == "concept" else "training examples"
    title = f"{request.title.rstrip('.')}. " if request.title else ""
    return f"{title}{request.question.rstrip('.')}: {format_count(sizes.forget)}{whole} {what}, {tried}."


def forgotten(request: Request, row: Row | None) -> str:
    """Return whether the request was met, as far as the reference (or its absence) lets one say."""
    if row is None:
        return "No method was run, so nothing was forgotten."
    if generated.is_generated(request):
        return generated.forgotten(request, row)
    parts = _with_reference(request, row) if request.reference else _without_reference(request, row)
    return " ".join(part for part in parts if part)


def _with_reference(request: Request, row: Row) -> list[str]:
    figures = [_ua(request, row), _ua_distance(request, row), _ua_worth(request, row), _gap(request, row)]
    return [*figures, *([] if row.held_out is None else [row.held_out.sentence])]


def _without_reference(request: Request, row: Row) -> list[str]:
    return [
        "There is no retrained reference, so how a model that never saw these examples behaves is not known.",
        _ua(request, row),
        _auc(request, row) if row.held_out is None else row.held_out.sentence,
    ]


def _ua(request: Request, row: Row) -> str:
    if row.mean("ua") is None:
        return f"{row.label} has no finite UA."
    others = [
        f"{name} {write(other.mean('ua'))} %"
        for name, other in (
            ("the retrained model", request.row("retrained")),
            ("the original", request.row("original")),
        )
        if other is not None and other.mean("ua") is not None
    ]
    compared = f" ({', '.join(others)})" if others else ""
    return f"{row.label} errs on {write(row.mean('ua'))} % of the examples to forget, its UA{compared}."


def _ua_distance(request: Request, row: Row) -> str:
    apart = from_retrained(request, row, "ua")
    if not apart:
        return ""
    if len(apart) == 1:
        return f"That UA is {write(apart[0])} points from retraining."
    return f"That UA is {write(fmean(apart))} points from retraining on average, {write(max(apart))} in the worst seed."


def _ua_worth(request: Request, row: Row) -> str:
    original = request.row("original")
    before = [] if original is None else from_retrained(request, original, "ua")
    after = from_retrained(request, row, "ua")
    if not before or not after:
        return ""
    if fmean(after) >= fmean(before):
        return f"The original was no further away ({write(fmean(before))} points), so UA shows no forgetting."
    if fmean(before) < 2:
        return f"The original was only {write(fmean(before))} points away, so UA alone shows little."
    return ""


def _gap(request: Request, row: Row) -> str:
    stands = standing(request, row)
    if stands is Standing.NO_GAP:
        return "Its average gap to retraining is not finite or was not measured."
    gap = f"Its average gap is {write_with_half(row.mean('avg_gap'), row.half('avg_gap'))} points"
    if stands is Standing.NO_CLOSER:
        return f"{gap}, no smaller than that of the original."
    if stands is Standing.NO_FLOOR:
        return f"{gap}; no noise floor was measured, so a small gap cannot be told from chance."
    floor = request.noise_floor
    size = "" if floor is None else write_with_half(floor.mean, floor.half)
    relation = {
        Standing.INSIDE: "not above",
        Standing.UNDECIDED: "which these seeds do not tell apart from",
        Standing.OUTSIDE: "above",
    }[stands]
    return f"{gap}, {relation} {FLOOR}, {size})."


def _auc(request: Request, row: Row) -> str:
    metric = request.metric("auc")
    if metric is None or row.mean("auc") is None:
        return "No membership attack was run."
    found = write_with_half(row.mean("auc"), row.half("auc"), metric.unit)
    return f"Told from held-out examples, the forgotten ones give an AUC of {found} ({chance(request):g} is chance)."


def utility(request: Request, row: Row | None) -> str:
    """Return what happened to accuracy on test data and on the data to keep, against original and retrained."""
    if row is None:
        return "Nothing was changed."
    limit = _limit(request, row)
    if generated.is_generated(request):
        return generated.kept(request, row) + limit
    names = {"ta": "Test accuracy", "ra": "Accuracy on the data to keep"}
    found = [_change(request, row, key, name) for key, name in names.items()]
    text = " ".join(part for part in found if part)
    return (text or "No accuracy on kept or test data was measured.") + limit


def _limit(request: Request, row: Row) -> str:
    """Return what a comparison knows of budgets, after a space; what a run knows stands under a heading of its own."""
    if request.budget is not None:
        return ""
    runs = request.budgets.get(row.key)
    if runs is None:
        return " It keeps no budget." if request.budgets else " No budget was set."
    kept = sum(run.kept is True for run in runs)
    return f" Its budget was kept in {kept} of {format_count(len(runs))} {'run' if len(runs) == 1 else 'runs'}."


def _change(request: Request, row: Row, key: str, name: str) -> str:
    now, original, retrained = row.mean(key), request.row("original"), request.row("retrained")
    before = None if original is None else original.mean(key)
    if now is None:
        return ""
    reference = None if retrained is None else retrained.mean(key)
    tail = "" if reference is None else f"; retrained {write(reference)} %"
    if before is None:
        return f"{name} is {write(now)} %{tail}."
    return f"{name} {_moved(now - before)} {write(now)} %{tail}."


def _moved(change: float) -> str:
    if write(abs(change)) == "0.00":
        return "stayed at"
    return f"{'rose' if change > 0 else 'fell'} by {write(abs(change))} points to"


def sureness(request: Request, row: Row | None) -> str:
    """Return how many seeds there are, what the intervals mean, and what choosing the best method does to them."""
    parts = [_seeds(request)]
    if row is not None and len(request.methods) > 1:
        parts.append(_picked(request, row))
    if request.reference and (request.noise_floor is None or request.noise_floor.mean is None):
        parts.append("No noise floor was measured.")
    return " ".join(part for part in parts if part)


def _seeds(request: Request) -> str:
    seeds = len(request.measured)
    if seeds <= 1:
        return "One seed: no interval can be given, and another seed may change every figure."
    paired = ", each compared with its own retrained model" if request.reference else ""
    width = " Two seeds make these intervals very wide." if seeds == 2 else ""
    return f"{format_count(seeds)} seeds{paired}; ± is half a 95 % t-interval over seeds.{width}"


def _picked(request: Request, row: Row) -> str:
    if generated.is_generated(request):
        return f"{row.label} is shown because it is listed first of {len(request.methods)} methods; that is no ranking."
    if request.metric("avg_gap") is None:
        by = "its AUC is nearest to chance" if row.mean("auc") is not None else "it is listed first"
        among = f"of {len(request.methods)} methods"
        return f"{row.label} is shown because {by} {among}; without a reference that is no ranking."
    close = overlapping(request, row)
    others = f" The intervals of {join([other.label for other in close])} overlap with it." if close else ""
    return f"{row.label} is shown because its gap is the smallest of {len(request.methods)}, which flatters it.{others}"
