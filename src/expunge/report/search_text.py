"""What was tried before a run: the short runs at each rate, in words and in a table."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.formatting import ABSENT, format_number
from expunge.report.budget_schema import BudgetSection, SearchRoundSection, TrialSection
from expunge.report.budget_text import TextTable, format_percent_number, format_unit, table_from_columns
from expunge.report.budget_text import format_cost as price

DIVERGED = "diverged"
ORDER_TEXT = (
    "The best keeps the budget, then recognizes least, then has the least distance: how far the accuracies on "
    "retained, control and forgotten examples are from where they should be, together; for whole classes what the "
    "control accuracy lost."
)
LARGEST_TEXT = "The largest rate that keeps the budget is taken."


@dataclass(frozen=True)
class SearchTable:
    """How the rate was chosen, and the short runs that it was chosen by."""

    text: str
    trials: TextTable


def search_table(budget: BudgetSection) -> SearchTable | None:
    """Return what was tried before the run; None where nothing was."""
    search = budget.search
    if search is None or not any(part.trials for part in search.rounds):
        return None
    runs = [(part, trial) for part in search.rounds for trial in part.trials]
    distances = [ABSENT if trial.distance is None else format_number(trial.distance) for _, trial in runs]
    columns = (
        ("Rate", [f"{trial.lr:g}" for _, trial in runs]),
        ("Share of the data", [format_fraction(part) for part, _ in runs]),
        (f"Spent, {format_unit(budget.limit)}", [format_trial_cost(budget, trial) for _, trial in runs]),
        ("Recognized beyond what is permitted, %", [format_percent_number(trial.recognized) for _, trial in runs]),
        ("Distance, points", distances),
    )
    order = LARGEST_TEXT if all(trial.distance is None for _, trial in runs) else ORDER_TEXT
    return SearchTable(f"{describe_choice(search.lr, len(runs), search.seconds)} {order}", table_from_columns(columns))


def describe_choice(lr: float, count: int, seconds: float) -> str:
    """Return which rate was taken, of how many runs in what time."""
    runs = "one short run" if count == 1 else f"{count} short runs"
    taken = f"{runs} in {format_number(seconds)} seconds"
    return f"The learning rate {lr:g} was chosen by {taken}, judged on control examples."


def format_fraction(part: SearchRoundSection) -> str:
    """Return a share of the data, as a fraction where it is one.

    Examples:
        >>> format_fraction(SearchRoundSection(fraction=0.03125, trials=()))
        '1/32'
        >>> format_fraction(SearchRoundSection(fraction=0.3, trials=()))
        '0.3'
    """
    denominator = round(1 / part.fraction) if part.fraction > 0 else 0
    return (
        f"1/{denominator}"
        if denominator > 1 and abs(denominator * part.fraction - 1) < 1e-9
        else format_number(part.fraction)
    )


def format_trial_cost(budget: BudgetSection, trial: TrialSection) -> str:
    """Return what a run spent."""
    return DIVERGED if trial.loss_increase is None else price(budget.limit, trial.spent)
