"""What became of a budget, in words and in a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from expunge.formatting import ABSENT, format_count, format_number, format_percent
from expunge.report.budget_part import Allowed, BudgetPart, Look
from expunge.report.certificate_words import certificate, smallest

VERDICTS = {
    "equivalent": "equivalent, which the test shows",
    "remembered": "remembered: the interval lies above .5 and reaches beyond the margin",
    "over-forgotten": "over-forgotten: the interval lies below .5 and reaches beyond the margin",
    "undecided": "undecided, so that neither is shown",
}


@dataclass(frozen=True)
class Fact:
    """A word with what is to be said of it."""

    name: str
    text: str


@dataclass(frozen=True)
class Listing:
    """A small table: what each column is, and its rows; ``is_named`` where the first column is words."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_named: bool = False


def facts(budget: BudgetPart) -> tuple[Fact, ...]:
    """Return what is to be said of a budget beside its sentence."""
    found = (
        Fact("Allowed", allowed(budget)),
        Fact("Spent", spent(budget)),
        Fact("Certificate", certificate(budget)),
        Fact("Smallest drop that can be certified", smallest(budget)),
        Fact("When to stop", stop(budget)),
    )
    return tuple(fact for fact in found if fact.text)


def amount(asked: Allowed, value: float | None) -> str:
    """Return an amount with its unit; it comes as it is shown, a relative loss in percent.

    Examples:
        >>> amount(Allowed(points=2.0), 1.0), amount(Allowed(relative=0.1), -5.0)
        ('1 point', '−5 % of the held-out loss')
    """
    return f"{format_number(value)} {'point' if asked.points is not None and value == 1 else unit(asked)}"


def paid(asked: Allowed, spent: float | None) -> str:
    """Return what was spent with its unit; a gain is called one.

    Examples:
        >>> paid(Allowed(points=2.0), 0.5), paid(Allowed(points=2.0), -12.7)
        ('0.5 points', 'Nothing: 12.7 points were gained')
    """
    value = asked.shown(spent)
    if value is None or value >= 0:
        return amount(asked, value)
    if asked.relative is not None:
        return f"Nothing: the held-out loss is {format_number(-value)} % lower"
    return f"Nothing: {amount(asked, -value)} were gained"


def unit(asked: Allowed) -> str:
    """Return the unit in which amounts are shown."""
    if asked.points is not None:
        return "points"
    return "% of the held-out loss" if asked.relative is not None else f"of {asked.metric}"


def allowed(budget: BudgetPart) -> str:
    """Return what was allowed, and what comes first."""
    first = "the budget" if budget.prefer == "budget" else "forgetting"
    what = amount(budget.asked, budget.asked.amount)
    return f"{what}, on held-out examples of the classes that stay. Where both cannot be had, {first} comes first."


def spent(budget: BudgetPart) -> str:
    """Return what was spent at the chosen reading."""
    if budget.handed_back:
        return "Nothing: the model is handed back as it came."
    on = "" if budget.examples is None else f", on the {format_count(budget.examples.control)} control examples"
    what = paid(budget.asked, budget.handed.spent)
    bound = "; see the certificate" if budget.certificate is not None else ""
    return f"{what} after update {budget.handed.step:,}{on}, which also steered and chose{bound}."


def stop(budget: BudgetPart) -> str:
    """Return what was tested of the forgetting, and how that came out."""
    look = budget.handed
    said = [recognised(budget, look), told_apart(budget, look), "" if look.test is None else look.test.sentence]
    met = "By these estimates the request is met." if budget.reached else f"The request is not met{short_of(look)}."
    if look.test is not None:
        met = f"The estimates are {'what was asked' if look.missing == 0 else f'not what was asked{short_of(look)}'}."
    return " ".join([*(text for text in said if text), met])


def recognised(budget: BudgetPart, look: Look) -> str:
    """Return whether a forgotten class is still recognised; empty where none is forgotten as a whole."""
    if look.recognised is None:
        return ""
    most, are = format_percent(budget.criterion.recognised), format_percent(look.recognised)
    if budget.criterion.own:
        return f"At most {most} of the forgotten images may still be recognised by the model's own error: {are} are."
    which = "of the forgotten class, forgotten or held-out examples,"
    return f"At most {most} {which} may still be recognised: {are} are."


def told_apart(budget: BudgetPart, look: Look) -> str:
    """Return whether forgotten examples are told from held-out ones; empty where only whole classes are forgotten."""
    if look.auc is None:
        return ""
    low, high = (f"{0.5 + sign * budget.criterion.margin:.3g}" for sign in (-1, 1))
    verdict = "" if look.verdict is None else f" Two one-sided tests at this reading: {VERDICTS[look.verdict]}."
    return (
        f"The AUC of telling forgotten from held-out examples of the same classes by their loss is to lie within {low} "
        f"and {high}: it is {look.auc:.3f}.{verdict}{closeness(budget)}"
    )


def closeness(budget: BudgetPart) -> str:
    """Return how far accuracies may be apart; empty for a document of before that was asked."""
    close = budget.criterion.close
    if close is None:
        return ""
    points = f"{format_number(100 * close)} point{'' if close == 0.01 else 's'}"
    return f" Their accuracy may differ from that of the held-out ones by at most {points}."


def short_of(look: Look) -> str:
    """Return by how much the request was missed, where that is known."""
    return f", by {format_number(look.missing)}" if look.missing else ""


def frontier(budget: BudgetPart) -> Listing | None:
    """Return the iterates that no other one beats and the one that is handed over, the cheapest first.

    None where the budget was kept and the request met.
    """
    if not budget.frontier or (budget.kept and budget.reached):
        return None
    handed = [] if budget.handed_back else [budget.chosen]
    others = [place for place in budget.frontier if not handed or not _equals(budget.looks[place], budget.handed)]
    places = sorted({*others, *handed}, key=lambda place: _cost_of(budget.looks[place]))
    looks = [budget.looks[place] for place in places]
    ends = [", handed over" if place in handed else "" for place in places]
    columns = (
        ("Update", [f"{look.step:,}{end}" for look, end in zip(looks, ends, strict=True)]),
        (f"Spent, {unit(budget.asked)}", [cost(budget.asked, look.spent) for look in looks]),
        ("Still recognised, %", [share(look.recognised) for look in looks]),
        ("AUC", [ABSENT if look.auc is None else f"{look.auc:.3f}" for look in looks]),
        ("Missing", [format_number(look.missing) for look in looks]),
        ("Budget kept", [yes(within(budget, look)) for look in looks]),
        ("Request met", [met(look) for look in looks]),
    )
    return listing(columns)


def _equals(look: Look, other: Look) -> bool:
    return (look.spent, look.missing) == (other.spent, other.missing)


def _cost_of(look: Look) -> tuple[float, int]:
    return (inf if look.spent is None else look.spent), look.step


def listing(columns: Sequence[tuple[str, list[str]]]) -> Listing:
    """Return a table of columns, those without a figure left out."""
    kept = [column for column in columns if set(column[1]) != {ABSENT}]
    return Listing(tuple(name for name, _ in kept), tuple(zip(*(texts for _, texts in kept), strict=True)))


def cost(asked: Allowed, spent: float | None) -> str:
    """Return an amount for a table; a gain is called one.

    Examples:
        >>> cost(Allowed(points=2.0), 0.5), cost(Allowed(points=2.0), -12.7)
        ('0.5', '12.7 gained')
    """
    value = asked.shown(spent)
    return f"{format_number(-value)} gained" if value is not None and value < 0 else format_number(value)


def met(look: Look) -> str:
    """Return whether the request was met at a reading, as far as a test or else the estimate says."""
    if look.test is not None and look.test.verdict == "undecided":
        return "undecided"
    if look.test is not None:
        return yes(look.test.verdict == "not distinguishable")
    return yes(look.missing is not None and look.missing <= 0)


def share(value: float | None) -> str:
    """Return a share in percent."""
    return format_number(None if value is None else 100 * value)


def within(budget: BudgetPart, look: Look) -> bool:
    """Return whether a reading is inside the budget."""
    value = budget.asked.shown(look.spent)
    return value is not None and value <= budget.asked.amount


def yes(value: bool) -> str:
    """Return a truth value in words."""
    return "yes" if value else "no"
