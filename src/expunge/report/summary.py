"""The first screen: what the numbers say, in sentences that claim no more than the numbers do."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from expunge.formatting import format_count, format_examples
from expunge.report import audit_text, earlier_requests_text, generative_text, loss_text
from expunge.report.audit_schema import AuditSection
from expunge.report.certificate_text import describe_bounds
from expunge.report.document import ModelRow, RequestSection
from expunge.report.numbers import format_metric, format_with_half_width, join_words
from expunge.report.ranking import (
    NoiseFloorVerdict,
    best_method,
    chance_level,
    compare_with_noise_floor,
    distances_to_retrained,
    find_overlapping,
)

NOT_SHOWN = (
    "This is approximate unlearning. Nothing here certifies that the examples' influence has been removed.",
    "Membership attacks here are simple ones on a whole population; an attack on single examples can find more.",
    "No figure here supports a conclusion about legal duties.",
)
"""What no report shows, whatever its numbers."""

REQUEST_MET, REQUEST_NOT_MET = "The request is met by its stop criterion", "The request is not met"
"""What a run with a budget knows of the forgetting without a retrained model."""

EARLIER_QUESTION = "Did earlier requests stay forgotten"

HELD_OUT_VERDICTS = {
    "not distinguishable": "Not distinguishable from held-out data",
    "still distinguishable": "Still distinguishable from held-out data",
}
"""What a test against held-out examples shows, where it shows something."""
MISFIT_VERDICT = "Nothing is shown, because the model did not know the data before the run"

NOISE_FLOOR_TEXT = "the noise floor (the gap between two retrained models"


@dataclass(frozen=True)
class Answer:
    """One question of the first screen with its answer."""

    question: str
    text: str


@dataclass(frozen=True)
class RequestSummary:
    """A request in words."""

    verdict: str
    answers: tuple[Answer, ...]


def build_summary(request: RequestSection) -> RequestSummary:
    """Return the first screen's words for one request."""
    row = best_method(request)
    return RequestSummary(
        f"{earlier_requests_text.describe_returned(request)}{describe_verdict(request, row)}",
        (
            Answer("What was asked", describe_request(request)),
            *([Answer("Do model and data belong together", request.fit_warning)] if request.fit_warning else []),
            Answer("Was it forgotten", describe_forgetting(request, row)),
            Answer("What it cost", describe_utility(request, row)),
            *([] if request.budget is None else [Answer("Was the budget kept", request.budget.summary)]),
            *([] if request.audit is None else build_audit_answers(request.audit)),
            *(
                []
                if not earlier_requests_text.describe_earlier_requests(request)
                else [Answer(EARLIER_QUESTION, earlier_requests_text.describe_earlier_requests(request))]
            ),
            Answer("How sure is this", describe_uncertainty(request, row)),
        ),
    )


def build_audit_answers(audit: AuditSection) -> tuple[Answer, ...]:
    """Return what an audit adds to the first screen."""
    bound = Answer("What fresh examples would show", describe_bounds(audit.certificate))
    return bound, Answer("Which weights moved", audit_text.describe_weight_change(audit))


def describe_verdict(request: RequestSection, row: ModelRow | None) -> str:
    """Return the first screen's words in brief."""
    if row is None:
        return "No method was run"
    if generative_text.is_generative(request):
        return generative_text.describe_verdict(request)
    if request.has_misfit:
        return MISFIT_VERDICT
    noise_verdict, held_out_verdict = compare_with_noise_floor(request, row), describe_held_out_test(request, row)
    if loss_text.is_measured_by_loss(request):
        return ". ".join(filter(None, (held_out_verdict, loss_text.describe_reference(request))))
    if noise_verdict is NoiseFloorVerdict.NO_REFERENCE and held_out_verdict:
        return f"{held_out_verdict}. {noise_verdict.value}"
    if noise_verdict is not NoiseFloorVerdict.NO_REFERENCE or request.budget is None:
        return noise_verdict.value
    return f"{REQUEST_MET if request.budget.target_met else REQUEST_NOT_MET}. {noise_verdict.value}"


def describe_held_out_test(request: RequestSection, row: ModelRow) -> str:
    """Return the verdict on forgotten against held-out data: that of the figures, else that of the run's budget."""
    budget_test = None if request.budget is None else request.budget.chosen_evaluation.test
    test = row.held_out or budget_test
    if test is None:
        return ""
    return (
        f"Cannot be decided with {format_examples(test.examples)}"
        if test.verdict == "undecided"
        else HELD_OUT_VERDICTS[test.verdict]
    )


def describe_request(request: RequestSection) -> str:
    """Return what was to be forgotten, with how much that is and how many methods tried."""
    sizes = request.sizes
    total = "" if sizes.train is None else f" of {format_count(sizes.train)}"
    methods = len(request.methods)
    method_count = "one method" if methods == 1 else f"{methods} methods"
    what = "latents of images with their prompts" if request.kind == "concept" else "training examples"
    title = f"{request.title.rstrip('.')}. " if request.title else ""
    return f"{title}{request.description.rstrip('.')}: {format_count(sizes.forget)}{total} {what}, {method_count}."


def describe_forgetting(request: RequestSection, row: ModelRow | None) -> str:
    """Return whether the request was met, as far as the reference (or its absence) lets one say."""
    if row is None:
        return "No method was run, so nothing was forgotten."
    if generative_text.is_generative(request):
        return generative_text.describe_forgetting(request, row)
    if loss_text.is_measured_by_loss(request):
        return loss_text.describe_forgetting(request, row)
    parts = _with_reference(request, row) if request.retrained else _without_reference(request, row)
    return " ".join(part for part in parts if part)


def _with_reference(request: RequestSection, row: ModelRow) -> list[str]:
    figures = [
        _describe_ua(request, row),
        _describe_ua_distance(request, row),
        _qualify_ua(request, row),
        _describe_gap(request, row),
    ]
    return [*figures, *([] if row.held_out is None else [row.held_out.sentence])]


def _without_reference(request: RequestSection, row: ModelRow) -> list[str]:
    return [
        "There is no retrained reference, so how a model that never saw these examples behaves is not known.",
        _describe_ua(request, row),
        _describe_auc(request, row) if row.held_out is None else row.held_out.sentence,
    ]


def _describe_ua(request: RequestSection, row: ModelRow) -> str:
    if row.mean("ua") is None:
        return f"{row.label} has no finite UA."
    others = [
        f"{name} {format_metric(other.mean('ua'))} %"
        for name, other in (
            ("the retrained model", request.row("retrained")),
            ("the original", request.row("original")),
        )
        if other is not None and other.mean("ua") is not None
    ]
    references = f" ({', '.join(others)})" if others else ""
    return f"{row.label} errs on {format_metric(row.mean('ua'))} % of the examples to forget, its UA{references}."


def _describe_ua_distance(request: RequestSection, row: ModelRow) -> str:
    distances = distances_to_retrained(request, row, "ua")
    if not distances:
        return ""
    if len(distances) == 1:
        return f"That UA is {format_metric(distances[0])} points from retraining."
    average, worst = format_metric(fmean(distances)), format_metric(max(distances))
    return f"That UA is {average} points from retraining on average, {worst} in the worst seed."


def _qualify_ua(request: RequestSection, row: ModelRow) -> str:
    original = request.row("original")
    before = [] if original is None else distances_to_retrained(request, original, "ua")
    after = distances_to_retrained(request, row, "ua")
    if not before or not after:
        return ""
    if fmean(after) >= fmean(before):
        return f"The original was no further away ({format_metric(fmean(before))} points), so UA shows no forgetting."
    if fmean(before) < 2:
        return f"The original was only {format_metric(fmean(before))} points away, so UA alone shows little."
    return ""


def _describe_gap(request: RequestSection, row: ModelRow) -> str:
    noise_verdict = compare_with_noise_floor(request, row)
    if noise_verdict is NoiseFloorVerdict.NO_GAP:
        return "Its average gap to retraining is not finite or was not measured."
    gap = f"Its average gap is {format_with_half_width(row.mean('avg_gap'), row.half_width('avg_gap'))} points"
    if noise_verdict is NoiseFloorVerdict.NO_CLOSER:
        return f"{gap}, no smaller than that of the original."
    if noise_verdict is NoiseFloorVerdict.NO_FLOOR:
        return f"{gap}; no noise floor was measured, so a small gap cannot be told from chance."
    floor = request.noise_floor
    size = "" if floor is None else format_with_half_width(floor.mean, floor.half_width)
    relation = {
        NoiseFloorVerdict.INSIDE: "not above",
        NoiseFloorVerdict.UNDECIDED: "which these seeds do not tell apart from",
        NoiseFloorVerdict.OUTSIDE: "above",
    }[noise_verdict]
    return f"{gap}, {relation} {NOISE_FLOOR_TEXT}, {size})."


def _describe_auc(request: RequestSection, row: ModelRow) -> str:
    metric = request.metric("auc")
    if metric is None or row.mean("auc") is None:
        return "No membership attack was run."
    auc_text = format_with_half_width(row.mean("auc"), row.half_width("auc"), metric.unit)
    chance = f"{chance_level(request):g} is chance"
    return f"Told from held-out examples, the forgotten ones give an AUC of {auc_text} ({chance})."


def describe_utility(request: RequestSection, row: ModelRow | None) -> str:
    """Return what happened to accuracy on test data and on the data to keep, against original and retrained."""
    if row is None:
        return "Nothing was changed."
    limit = _describe_budget_kept(request, row)
    if generative_text.is_generative(request):
        return generative_text.describe_retained(request, row) + limit
    if loss_text.is_measured_by_loss(request):
        return loss_text.describe_utility(request, row) + limit
    names = {"ta": "Test accuracy", "ra": "Accuracy on the data to keep"}
    changes = [_describe_change(request, row, key, name) for key, name in names.items()]
    text = " ".join(part for part in changes if part)
    return (text or "No accuracy on kept or test data was measured.") + limit


def _describe_budget_kept(request: RequestSection, row: ModelRow) -> str:
    """Return what a comparison knows of budgets, after a space; what a run knows stands under a heading of its own."""
    if request.budget is not None:
        return ""
    runs = request.budgets.get(row.key)
    if runs is None:
        return " It keeps no budget." if request.budgets else " No budget was set."
    num_kept = sum(run.within_budget is True for run in runs)
    return f" Its budget was kept in {num_kept} of {format_count(len(runs))} {'run' if len(runs) == 1 else 'runs'}."


def _describe_change(request: RequestSection, row: ModelRow, key: str, name: str) -> str:
    now, original, retrained = row.mean(key), request.row("original"), request.row("retrained")
    before = None if original is None else original.mean(key)
    if now is None:
        return ""
    reference = None if retrained is None else retrained.mean(key)
    tail = "" if reference is None else f"; retrained {format_metric(reference)} %"
    if before is None:
        return f"{name} is {format_metric(now)} %{tail}."
    return f"{name} {_format_change(now - before)} {format_metric(now)} %{tail}."


def _format_change(change: float) -> str:
    if format_metric(abs(change)) == "0.00":
        return "stayed at"
    return f"{'rose' if change > 0 else 'fell'} by {format_metric(abs(change))} points to"


def describe_uncertainty(request: RequestSection, row: ModelRow | None) -> str:
    """Return how many seeds there are, what the intervals mean, and what choosing the best method does to them."""
    parts = [_describe_seeds(request)]
    if row is not None and len(request.methods) > 1:
        parts.append(_describe_choice(request, row))
    floors = request.noise_floors if loss_text.is_measured_by_loss(request) else {}
    if request.retrained and not floors and (request.noise_floor is None or request.noise_floor.mean is None):
        parts.append("No noise floor was measured.")
    return " ".join(part for part in parts if part)


def _describe_seeds(request: RequestSection) -> str:
    seeds = len(request.measured)
    if seeds <= 1:
        return "One seed: no interval can be given, and another seed may change every figure."
    paired = ", each compared with its own retrained model" if request.retrained else ""
    width = " Two seeds make these intervals very wide." if seeds == 2 else ""
    return f"{format_count(seeds)} seeds{paired}; ± is half a 95 % t-interval over seeds.{width}"


def _describe_choice(request: RequestSection, row: ModelRow) -> str:
    if generative_text.is_generative(request):
        return f"{row.label} is shown because it is listed first of {len(request.methods)} methods; that is no ranking."
    if request.metric("avg_gap") is None:
        by = "its AUC is nearest to chance" if row.mean("auc") is not None else "it is listed first"
        among = f"of {len(request.methods)} methods"
        return f"{row.label} is shown because {by} {among}; without a reference that is no ranking."
    close = find_overlapping(request, row)
    others = f" The intervals of {join_words([other.label for other in close])} overlap with it." if close else ""
    return f"{row.label} is shown because its gap is the smallest of {len(request.methods)}, which flatters it.{others}"
