"""What became of a budget, in words and in a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from expunge.formatting import ABSENT, format_count, format_number, format_percent
from expunge.report.budget_schema import BudgetLimitSection, BudgetSection, EvaluationSection
from expunge.report.certificate_text import describe_certificate, describe_smallest_drop

EQUIVALENCE_VERDICTS = {
    "equivalent": "equivalent, which the test shows",
    "remembered": "remembered: the interval lies above .5 and reaches beyond the margin",
    "over-forgotten": "over-forgotten: the interval lies below .5 and reaches beyond the margin",
    "undecided": "undecided, so that neither is shown",
}


@dataclass(frozen=True)
class Statement:
    """A word with what is to be said of it."""

    name: str
    text: str


@dataclass(frozen=True)
class TextTable:
    """A small table: what each column is, and its rows; ``is_named`` where the first column is words."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_named: bool = False


def budget_statements(budget: BudgetSection) -> tuple[Statement, ...]:
    """Return what is to be said of a budget beside its sentence."""
    statements = (
        Statement("Allowed", describe_limit(budget)),
        Statement("Spent", describe_spent(budget)),
        Statement("Certificate", describe_certificate(budget)),
        Statement("Smallest drop that can be certified", describe_smallest_drop(budget)),
        Statement("When to stop", describe_stop(budget)),
    )
    return tuple(fact for fact in statements if fact.text)


def format_amount(limit: BudgetLimitSection, value: float | None) -> str:
    """Return an amount with its unit; it comes as it is shown, a relative loss in percent.

    Examples:
        >>> format_amount(BudgetLimitSection(accuracy_points=2.0), 1.0)
        '1 point'
        >>> format_amount(BudgetLimitSection(loss_increase=0.1), -5.0)
        '−5 % of the held-out loss'
    """
    return (
        f"{format_number(value)} {'point' if limit.accuracy_points is not None and value == 1 else format_unit(limit)}"
    )


def format_spent(limit: BudgetLimitSection, spent: float | None) -> str:
    """Return what was spent with its unit; a gain is called one.

    Examples:
        >>> [format_spent(BudgetLimitSection(accuracy_points=2.0), value) for value in (0.5, -12.7)]
        ['0.5 points', 'Nothing: 12.7 points were gained']
    """
    value = limit.to_display(spent)
    if value is None or value >= 0:
        return format_amount(limit, value)
    if limit.loss_increase is not None:
        return f"Nothing: the held-out loss is {format_number(-value)} % lower"
    return f"Nothing: {format_amount(limit, -value)} were gained"


def format_unit(limit: BudgetLimitSection) -> str:
    """Return the unit in which amounts are shown."""
    if limit.accuracy_points is not None:
        return "points"
    return "% of the held-out loss" if limit.loss_increase is not None else f"of {limit.metric}"


def describe_limit(budget: BudgetSection) -> str:
    """Return what was allowed, and what comes first."""
    first = "the budget" if budget.priority == "budget" else "forgetting"
    limit = format_amount(budget.limit, budget.limit.amount)
    return f"{limit}, on held-out examples of the classes that stay. Where both cannot be had, {first} comes first."


def describe_spent(budget: BudgetSection) -> str:
    """Return what was spent at the chosen reading."""
    if budget.is_unchanged:
        return "Nothing: the model is handed back as it came."
    on = "" if budget.examples is None else f", on the {format_count(budget.examples.control)} control examples"
    amount = format_spent(budget.limit, budget.chosen_evaluation.spent)
    bound = "; see the certificate" if budget.certificate is not None else ""
    return f"{amount} after update {budget.chosen_evaluation.step:,}{on}, which also steered and chose{bound}."


def describe_stop(budget: BudgetSection) -> str:
    """Return what was tested of the forgetting, and how that came out."""
    evaluation = budget.chosen_evaluation
    sentences = [
        describe_recognition(budget, evaluation),
        describe_membership(budget, evaluation),
        "" if evaluation.test is None else evaluation.test.sentence,
    ]
    outcome = (
        "By these estimates the request is met."
        if budget.target_met
        else f"The request is not met{describe_shortfall(evaluation)}."
    )
    if evaluation.test is not None:
        result = (
            "what was asked" if evaluation.shortfall == 0 else f"not what was asked{describe_shortfall(evaluation)}"
        )
        outcome = f"The estimates are {result}."
    return " ".join([*(text for text in sentences if text), outcome])


def describe_recognition(budget: BudgetSection, evaluation: EvaluationSection) -> str:
    """Return whether a forgotten class is still recognized; empty where none is forgotten as a whole."""
    if evaluation.recognized is None:
        return ""
    limit, recognized = format_percent(budget.criterion.max_recognized), format_percent(evaluation.recognized)
    if budget.criterion.uses_model_error:
        which = "of the forgotten images may still be recognized by the model's own error"
        return f"At most {limit} {which}: {recognized} are."
    which = "of the forgotten class, forgotten or held-out examples,"
    return f"At most {limit} {which} may still be recognized: {recognized} are."


def describe_membership(budget: BudgetSection, evaluation: EvaluationSection) -> str:
    """Return whether forgotten examples are told from held-out ones; empty where only whole classes are forgotten."""
    if evaluation.auc is None:
        return ""
    low, high = (f"{0.5 + sign * budget.criterion.margin:.3g}" for sign in (-1, 1))
    verdict = (
        ""
        if evaluation.verdict is None
        else f" Two one-sided tests at this reading: {EQUIVALENCE_VERDICTS[evaluation.verdict]}."
    )
    return (
        f"The AUC of telling forgotten from held-out examples of the same classes by their loss is to lie within {low} "
        f"and {high}: it is {evaluation.auc:.3f}.{verdict}{describe_margin(budget)}"
    )


def describe_margin(budget: BudgetSection) -> str:
    """Return how far accuracies may be apart; empty for a document of before that was asked."""
    margin = budget.criterion.max_accuracy_gap
    if margin is None:
        return ""
    points = f"{format_number(100 * margin)} point{'' if margin == 0.01 else 's'}"
    return f" Their accuracy may differ from that of the held-out ones by at most {points}."


def describe_shortfall(evaluation: EvaluationSection) -> str:
    """Return by how much the request was missed, where that is known."""
    return f", by {format_number(evaluation.shortfall)}" if evaluation.shortfall else ""


def frontier_table(budget: BudgetSection) -> TextTable | None:
    """Return the iterates that no other one beats and the one that is handed over, the cheapest first.

    None where the budget was kept and the request met.
    """
    if not budget.pareto_indices or (budget.within_budget and budget.target_met):
        return None
    chosen = [] if budget.is_unchanged else [budget.chosen]
    others = [
        index
        for index in budget.pareto_indices
        if not chosen or not _equals(budget.evaluations[index], budget.chosen_evaluation)
    ]
    indices = sorted({*others, *chosen}, key=lambda place: _cost_key(budget.evaluations[place]))
    evaluations = [budget.evaluations[index] for index in indices]
    ends = [", handed over" if index in chosen else "" for index in indices]
    columns = (
        ("Update", [f"{look.step:,}{end}" for look, end in zip(evaluations, ends, strict=True)]),
        (f"Spent, {format_unit(budget.limit)}", [format_cost(budget.limit, look.spent) for look in evaluations]),
        ("Still recognized, %", [format_percent_number(look.recognized) for look in evaluations]),
        ("AUC", [ABSENT if look.auc is None else f"{look.auc:.3f}" for look in evaluations]),
        ("Missing", [format_number(look.shortfall) for look in evaluations]),
        ("Budget kept", [format_yes_no(is_within_budget(budget, look)) for look in evaluations]),
        ("Request met", [format_request_met(look) for look in evaluations]),
    )
    return table_from_columns(columns)


def _equals(look: EvaluationSection, other: EvaluationSection) -> bool:
    return (look.spent, look.shortfall) == (other.spent, other.shortfall)


def _cost_key(evaluation: EvaluationSection) -> tuple[float, int]:
    return (inf if evaluation.spent is None else evaluation.spent), evaluation.step


def table_from_columns(columns: Sequence[tuple[str, list[str]]]) -> TextTable:
    """Return a table of columns, those without a figure left out."""
    filled = [column for column in columns if set(column[1]) != {ABSENT}]
    return TextTable(tuple(name for name, _ in filled), tuple(zip(*(texts for _, texts in filled), strict=True)))


def format_cost(limit: BudgetLimitSection, spent: float | None) -> str:
    """Return an amount for a table; a gain is called one.

    Examples:
        >>> [format_cost(BudgetLimitSection(accuracy_points=2.0), value) for value in (0.5, -12.7)]
        ['0.5', '12.7 gained']
    """
    value = limit.to_display(spent)
    return f"{format_number(-value)} gained" if value is not None and value < 0 else format_number(value)


def format_request_met(evaluation: EvaluationSection) -> str:
    """Return whether the request was met at a reading, as far as a test or else the estimate says."""
    if evaluation.test is not None and evaluation.test.verdict == "undecided":
        return "undecided"
    if evaluation.test is not None:
        return format_yes_no(evaluation.test.verdict == "not distinguishable")
    return format_yes_no(evaluation.shortfall is not None and evaluation.shortfall <= 0)


def format_percent_number(value: float | None) -> str:
    """Return a share in percent."""
    return format_number(None if value is None else 100 * value)


def is_within_budget(budget: BudgetSection, evaluation: EvaluationSection) -> bool:
    """Return whether a reading is inside the budget."""
    value = budget.limit.to_display(evaluation.spent)
    return value is not None and value <= budget.limit.amount


def format_yes_no(value: bool) -> str:
    """Return a truth value in words."""
    return "yes" if value else "no"
