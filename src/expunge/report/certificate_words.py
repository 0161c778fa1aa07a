"""What a certificate says, in words: of accuracy, of a loss, or of somebody's own metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from expunge.budget.spending import reopened_words
from expunge.formatting import format_count, format_number, format_percent
from expunge.report.budget_part import Allowed, BudgetPart, Certificate

APPROXIMATE: Mapping[str, str] = {
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


def certificate(budget: BudgetPart) -> str:
    """Return what the certify half says."""
    found = budget.certificate
    if found is not None:
        return f"{opened(found)} {bounds(found, budget.asked)}{inside(budget)}{approximate(found)}"
    if not budget.asked.certify:
        return "None was asked for: all held-out examples steered, and none was put aside."
    if budget.unsaid:
        return f"None: the certify half was opened and says nothing, {budget.unsaid}."
    return "None: the certify half stayed closed." if budget.handed_back else "None."


def opened(found: Certificate) -> str:
    """Return what was looked at on the certify half."""
    many = f"Of {format_count(found.examples)} examples that nothing was chosen by, opened once,"
    if found.lost is None or found.gained is None:
        return f"{many} each was measured before and after."
    return f"{many} {found.lost:,} were right before and are wrong now, {found.gained:,} the reverse."


def bounds(found: Certificate, asked: Allowed | None = None) -> str:
    """Return the bounds on what fresh examples lost.

    Args:
        found: The certificate.
        asked: The budget whose unit it is in. Default: points.
    """
    about = "" if found.exact else "about "
    said = f"With {about}{confidence(found.delta)} confidence {worse(found, asked)} on fresh examples like these"
    second = (
        ""
        if found.approximate is None
        else f"; Tango's bound, approximate, is {format_number(100 * found.approximate)}"
    )
    return f"{said} {by(found, asked)}{second}."


def worse(found: Certificate, asked: Allowed | None) -> str:
    """Return what the bound is of."""
    if found.kind == "accuracy" or asked is None:
        return "the accuracy"
    return "the loss" if asked.relative is not None else f"{asked.metric}"


def by(found: Certificate, asked: Allowed | None) -> str:
    """Return the bound with its unit: a loss in percent, a metric in its own."""
    if found.kind == "accuracy" or asked is None:
        return f"fell by at most {format_number(100 * found.bound)} points"
    if asked.relative is not None:
        return f"rose by at most {format_percent(found.bound)}"
    return f"became worse by at most {format_number(found.bound)}"


def inside(budget: BudgetPart) -> str:
    """Return how the bound stands to the budget; an approximate one certifies nothing."""
    if budget.reopened:
        return f" {reopened_words(budget.reopened)}"
    if budget.certified is not None:
        told = {True: " That is inside the budget.", False: " That is more than the budget: it was not certified."}
        return told[budget.certified]
    found = budget.certificate
    if found is None or found.exact:
        return ""
    return (
        f" That is {'inside' if budget.asked.of_share(found.bound) <= budget.asked.amount else 'more than'} the budget."
    )


def approximate(found: Certificate) -> str:
    """Return that a bound is approximate, and why."""
    return "" if found.exact else f" {APPROXIMATE.get(found.kind, 'This is approximate.')}"


def confidence(delta: float) -> str:
    """Return 1 − δ in percent."""
    return f"{100 * (1 - delta):.4g} %"


def smallest(budget: BudgetPart) -> str:
    """Return the least drop that so many examples can certify; empty where that is not known."""
    found = budget.certificate
    least = budget.smallest if found is None else found.smallest
    if least is None:
        return ""
    many = "" if budget.examples is None else f" of {format_count(budget.examples.certify)}"
    say = SMALLEST[
        "metric" if budget.asked.metric is not None and getattr(found, "kind", "") != "accuracy" else "points"
    ]
    return say(least, many, budget.asked)


def smallest_of_points(least: float, many: str, asked: Allowed) -> str:
    """Return it for a budget in points."""
    said = (
        f"{format_number(100 * least)} points: what the certificate says where no example{many} is lost and none gained"
    )
    return f"{said}. Gained ones lower it, but nobody can plan for them."


def smallest_of_metric(least: float, many: str, asked: Allowed) -> str:
    """Return it for a budget in somebody's own metric."""
    return (
        f"{format_number(least)} of {asked.metric}: what the certificate says where no example{many} changes its value."
    )


SMALLEST: Mapping[str, Callable[[float, str, Allowed], str]] = {
    "points": smallest_of_points,
    "metric": smallest_of_metric,
}
