"""What a certificate says, in words: of accuracy, of a loss, or of somebody's own metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from expunge.budget.budget_result import describe_reopened
from expunge.formatting import format_count, format_number, format_percent
from expunge.report.budget_schema import BudgetLimitSection, BudgetSection, CertificateSection

APPROXIMATION_REASONS: Mapping[str, str] = {
    "mean": (
        "This is approximate, by a paired bootstrap: values without a range have no exact bound, and examples that are "
        "rare and lose much may not be among these."
    ),
    "whole set": (
        "This is approximate, by a jackknife over ten parts of the examples: a metric of a whole set has no exact "
        "bound unless it gives a value for each example and its range is known."
    ),
}
"""Why a bound is not exact, by the kind of its certificate."""


def describe_certificate(budget: BudgetSection) -> str:
    """Return what the certify half says."""
    certificate = budget.certificate
    if certificate is not None:
        return (
            f"{describe_opening(certificate)} {describe_bounds(certificate, budget.limit)}"
            f"{compare_with_budget(budget)}{describe_approximation(certificate)}"
        )
    if not budget.limit.certify:
        return "None was asked for: all held-out examples steered, and none was put aside."
    if budget.no_certificate_reason:
        return f"None: the certify half was opened and says nothing, {budget.no_certificate_reason}."
    return "None: the certify half stayed closed." if budget.is_unchanged else "None."


def describe_opening(certificate: CertificateSection) -> str:
    """Return what was looked at on the certify half."""
    examples = f"Of {format_count(certificate.examples)} examples that nothing was chosen by, opened once,"
    if certificate.lost is None or certificate.gained is None:
        return f"{examples} each was measured before and after."
    return f"{examples} {certificate.lost:,} were right before and are wrong now, {certificate.gained:,} the reverse."


def describe_bounds(certificate: CertificateSection, limit: BudgetLimitSection | None = None) -> str:
    """Return the bounds on what fresh examples lost."""
    about = "" if certificate.exact else "about "
    sentence = (
        f"With {about}{format_confidence(certificate.delta)} confidence {bound_subject(certificate, limit)} "
        "on fresh examples like these"
    )
    tango = (
        ""
        if certificate.approximate is None
        else f"; Tango's bound, approximate, is {format_number(100 * certificate.approximate)}"
    )
    return f"{sentence} {describe_bound(certificate, limit)}{tango}."


def bound_subject(certificate: CertificateSection, limit: BudgetLimitSection | None) -> str:
    if certificate.kind == "accuracy" or limit is None:
        return "the accuracy"
    return "the loss" if limit.loss_increase is not None else f"{limit.metric}"


def describe_bound(certificate: CertificateSection, limit: BudgetLimitSection | None) -> str:
    """Return the bound with its unit: a loss in percent, a metric in its own."""
    if certificate.kind == "accuracy" or limit is None:
        return f"fell by at most {format_number(100 * certificate.bound)} points"
    if limit.loss_increase is not None:
        return f"rose by at most {format_percent(certificate.bound)}"
    return f"became worse by at most {format_number(certificate.bound)}"


def compare_with_budget(budget: BudgetSection) -> str:
    """Return how the bound stands to the budget; an approximate one certifies nothing."""
    if budget.reopened:
        return f" {describe_reopened(budget.reopened)}"
    if budget.certified is not None:
        outcomes = {True: " That is inside the budget.", False: " That is more than the budget: it was not certified."}
        return outcomes[budget.certified]
    certificate = budget.certificate
    if certificate is None or certificate.exact:
        return ""
    is_inside = budget.limit.scale_certified(certificate.bound) <= budget.limit.amount
    return f" That is {'inside' if is_inside else 'more than'} the budget."


def describe_approximation(certificate: CertificateSection) -> str:
    """Return that a bound is approximate, and why."""
    return "" if certificate.exact else f" {APPROXIMATION_REASONS.get(certificate.kind, 'This is approximate.')}"


def format_confidence(delta: float) -> str:
    """Return 1 − δ in percent."""
    return f"{100 * (1 - delta):.4g} %"


def describe_smallest_drop(budget: BudgetSection) -> str:
    """Return the least drop that so many examples can certify; empty where that is not known."""
    certificate = budget.certificate
    smallest_drop = budget.smallest if certificate is None else certificate.smallest
    if smallest_drop is None:
        return ""
    many = "" if budget.examples is None else f" of {format_count(budget.examples.certify)}"
    describe = SMALLEST_DROP_TEXTS[
        "metric" if budget.limit.metric is not None and getattr(certificate, "kind", "") != "accuracy" else "points"
    ]
    return describe(smallest_drop, many, budget.limit)


def describe_smallest_points(smallest_drop: float, size: str, limit: BudgetLimitSection) -> str:
    sentence = (
        f"{format_number(100 * smallest_drop)} points: what the certificate says where no example{size} is lost "
        "and none gained"
    )
    return f"{sentence}. Gained ones lower it, but nobody can plan for them."


def describe_smallest_metric(smallest_drop: float, size: str, limit: BudgetLimitSection) -> str:
    """Return it for a budget in somebody's own metric."""
    amount = f"{format_number(smallest_drop)} of {limit.metric}"
    return f"{amount}: what the certificate says where no example{size} changes its value."


SMALLEST_DROP_TEXTS: Mapping[str, Callable[[float, str, BudgetLimitSection], str]] = {
    "points": describe_smallest_points,
    "metric": describe_smallest_metric,
}
