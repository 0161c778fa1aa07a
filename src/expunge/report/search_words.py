"""What was tried before a run: the short runs at each rate, in words and in a table."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.formatting import ABSENT, format_number
from expunge.report.budget_part import BudgetPart, Round, Trial
from expunge.report.budget_words import Listing, listing, share, unit
from expunge.report.budget_words import cost as price

DIVERGED = "diverged"
ORDER = (
    "The best keeps the budget, then recognises least, then has the least distance: how far the accuracies on "
    "retained, control and forgotten examples are from where they should be, together; for whole classes what the "
    "control accuracy lost."
)


@dataclass(frozen=True)
class Tried:
    """How the rate was chosen, and the short runs that it was chosen by."""

    text: str
    trials: Listing


def tried(budget: BudgetPart) -> Tried | None:
    """Return what was tried before the run; None where nothing was."""
    search = budget.search
    if search is None or not any(part.trials for part in search.rounds):
        return None
    runs = [(part, trial) for part in search.rounds for trial in part.trials]
    distances = [ABSENT if trial.distance is None else format_number(trial.distance) for _, trial in runs]
    columns = (
        ("Rate", [f"{trial.rate:g}" for _, trial in runs]),
        ("Share of the data", [part_of(part) for part, _ in runs]),
        (f"Spent, {unit(budget.asked)}", [cost(budget, trial) for _, trial in runs]),
        ("Recognised beyond what is permitted, %", [share(trial.recognised) for _, trial in runs]),
        ("Distance, points", distances),
    )
    return Tried(f"{chosen(search.rate, len(runs), search.seconds)} {ORDER}", listing(columns))


def chosen(rate: float, count: int, seconds: float) -> str:
    """Return which rate was taken, of how many runs in what time."""
    runs = "one short run" if count == 1 else f"{count} short runs"
    taken = f"{runs} in {format_number(seconds)} seconds"
    return f"The learning rate {rate:g} was chosen by {taken}, judged on control examples."


def part_of(part: Round) -> str:
    """Return a share of the data, as a fraction where it is one.

    Examples:
        >>> part_of(Round(share=0.03125, trials=())), part_of(Round(share=0.3, trials=()))
        ('1/32', '0.3')
    """
    whole = round(1 / part.share) if part.share > 0 else 0
    return f"1/{whole}" if whole > 1 and abs(whole * part.share - 1) < 1e-9 else format_number(part.share)


def cost(budget: BudgetPart, trial: Trial) -> str:
    """Return what a run spent."""
    return DIVERGED if trial.rise is None else price(budget.asked, trial.spent)
