"""Spending: what a budget was asked for, what became of it at each reading, and what is handed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from expunge.budget.budget import Budget
from expunge.budget.certificate import Certificate, Kind
from expunge.budget.choice import Candidate, Preference
from expunge.budget.forgetting import RECOGNISED
from expunge.budget.stop import Verdict


@dataclass(frozen=True)
class Look:
    """One control reading.

    Args:
        step: Updates before it.
        loss: Mean held-out loss.
        accuracy: Percent of the held-out examples.
        value: Of the user's metric, where there is one.
        spent: In the budget's own unit.
        tolerance: τ after it, in nats.
        missing: How far the forgetting is from what was asked, ≥ 0.
        recognised: Share of the forgotten classes that is still recognised.
        auc: Of telling forgotten from held-out examples.
        verdict: Of the equivalence test.
        failed: Why the metric had no value, so that the reading counts as over the budget; empty where it had one.
    """

    step: int
    loss: float
    accuracy: float | None
    value: float | None
    spent: float
    tolerance: float
    missing: float
    recognised: float | None = None
    auc: float | None = None
    verdict: Verdict | None = None
    failed: str = ""

    def candidate(self) -> Candidate:
        """Return what the choice of an iterate looks at."""
        return Candidate(self.spent, self.missing)


@dataclass(frozen=True)
class Spending:
    """What became of a budget.

    Args:
        asked: The budget.
        prefer: What was to come first where both cannot be had.
        looks: All control readings; the first is the model that was handed in.
        chosen: Place of the model that is handed over among them; 0 is the one that was handed in.
        kept: Whether it is inside the budget, on the control half.
        reached: Whether it forgets as asked, by the estimate; whether that is *shown* says its verdict.
        frontier: Places of the iterates that no other one beats, from the cheapest to the one that forgets most.
        certificate: In the budget's unit, from the certify half, opened once; None where it stayed closed, because the
            model is handed back as it came, or where nothing can be said.
        unsaid: Why nothing can be said; empty where something is, or the half stayed closed.
        limit: Share of what is to be forgotten as a whole that may still be recognised.
        own: Whether it is recognised by the model's own error, and not by what a classifier answers. Default false.
    """

    asked: Budget
    prefer: Preference
    looks: tuple[Look, ...]
    chosen: int
    kept: bool
    reached: bool
    frontier: tuple[int, ...]
    certificate: Certificate | None = None
    unsaid: str = ""
    limit: float = RECOGNISED
    own: bool = False

    @property
    def inside(self) -> bool | None:
        """Whether the certificate's bound is inside the budget; None without one."""
        if self.certificate is None:
            return None
        return self.asked.scale * self.certificate.bound <= self.asked.allowed

    @property
    def certified(self) -> bool | None:
        """Whether an exact bound is inside the budget; None where the bound is approximate, or without one."""
        return self.inside if self.certificate is not None and self.certificate.exact else None

    @property
    def sentence(self) -> str:
        """What became of the budget, for people."""
        parts = [self.verdict(), *self.cheapest(), *self.failures(), *certified_words(self), *self.advice()]
        return " ".join(parts)

    def verdict(self) -> str:
        """Return whether the budget was kept and the request met."""
        allowed, handed = amount(self.asked, self.asked.allowed), self.looks[self.chosen]
        if self.chosen == 0:
            return (
                f"The budget of {allowed} could not be kept: every iterate spent more. The model is handed back as it "
                "came and has forgotten nothing."
            )
        spent = amount(self.asked, handed.spent) if not handed.failed else "an unknown amount"
        if self.kept:
            met = met_words(handed) if self.reached else f"but within it the request was not met: {left(handed)}"
            return f"The budget of {allowed} was kept, {met}; {spent} spent after update {handed.step}."
        met = "The model forgets as asked" if self.reached else f"The model does not forget as asked: {left(handed)}"
        return f"The budget of {allowed} was not kept. {met}; {spent} spent after update {handed.step}."

    def cheapest(self) -> list[str]:
        """Return what forgetting as asked would have cost, where the model that is handed over does not."""
        costs = [self.looks[index].spent for index in self.frontier if self.looks[index].missing <= 0]
        if self.reached:
            return []
        if not costs:
            return ["No iterate forgot as asked."]
        return [f"The cheapest iterate that forgot as asked spent {amount(self.asked, min(costs))}."]

    def failures(self) -> list[str]:
        """Return at which readings the metric failed."""
        failed = [look for look in self.looks if look.failed]
        if not failed:
            return []
        many = f"{len(failed)} of {len(self.looks) - 1} readings, which {'count' if len(failed) > 1 else 'counts'}"
        return [f"The metric failed at {many} as over the budget: after update {failed[0].step}, {failed[0].failed}."]

    def advice(self) -> list[str]:
        """Return what can be done where the model that is handed over does not forget as asked."""
        if self.reached:
            return []
        more = "A larger budget or more time may be enough"
        return [f"{more}." if self.own else f"{more}; `expunge estimate-retrain` tells what retraining would cost."]

    def document(self) -> dict[str, Any]:
        """Return everything as plain values."""
        metric = self.asked.metric
        asked = {**vars(self.asked), "metric": None if metric is None else getattr(metric, "__name__", "a metric")}
        return {
            "asked": asked,
            "prefer": self.prefer,
            "looks": [plain(look) for look in self.looks],
            "chosen": self.chosen,
            "kept": self.kept,
            "reached": self.reached,
            "frontier": list(self.frontier),
            "certificate": None if self.certificate is None else self.certificate.document(),
            "certified": self.certified,
            "unsaid": self.unsaid,
            "sentence": self.sentence,
        }


def plain(look: Look) -> dict[str, Any]:
    """Return a reading as plain values; what is not finite is None, as JSON has no NaN."""
    values = asdict(look)
    return {name: None if isinstance(v, float) and not isfinite(v) else v for name, v in values.items()}


def amount(budget: Budget, value: float) -> str:
    """Return an amount in the budget's own unit, in words.

    Examples:
        >>> amount(Budget(points=1.0), 1.0), amount(Budget(relative=0.1), 0.05)
        ('1 point', '5 % of the held-out loss')
    """
    if budget.points is not None:
        return f"{value:.3g} point{'' if value == 1 else 's'}"
    return f"{100 * value:.3g} % of the held-out loss" if budget.relative is not None else f"{value:.3g} of the metric"


def met_words(look: Look) -> str:
    """Return that the request was met, and whether the test shows it or the estimate alone."""
    shown = look.verdict in (None, "equivalent")
    return "and the request was met" + ("" if shown else f" by the estimate, though no test shows it ({left(look)})")


def left(look: Look) -> str:
    """Return what is still to be seen of the forgotten examples."""
    words: Sequence[str] = [
        *([] if look.recognised is None else [f"{100 * look.recognised:.3g} % of the class are still recognised"]),
        *([] if look.auc is None else [f"an AUC of {look.auc:.3f} tells forgotten from held-out examples"]),
    ]
    return ", ".join(words)


def certified_words(spending: Spending) -> list[str]:
    """Return what the certify half says."""
    found = spending.certificate
    if not spending.asked.certify and spending.chosen:
        return ["No certificate was asked for: all held-out examples steered."]
    if found is None:
        return [f"The certify half says nothing: {spending.unsaid}."] if spending.unsaid else []
    inside = "inside the budget" if spending.inside else "more than the budget"
    level, about = f"{100 * (1 - found.delta):.3g} %", "" if found.exact else "about "
    end = "" if found.exact else f" This is approximate, by {APPROXIMATELY[found.kind]}."
    said = f"With {about}{level} confidence {moved(spending.asked, spending.asked.scale * found.bound)}"
    return [f"{said}, which is {inside}.{end}"]


APPROXIMATELY: Mapping[Kind, str] = {"mean": "a paired bootstrap", "whole set": "a jackknife"}
"""How a bound was found that is not exact."""


def moved(budget: Budget, bound: float) -> str:
    """Return a bound in words.

    Examples:
        >>> moved(Budget(points=1.0), 0.5), moved(Budget(relative=0.1), -0.02)
        ('the accuracy on fresh examples fell by at most 0.5 points', 'the loss on fresh examples fell by at least 2 %')
    """
    size, by = abs(bound), "at most" if bound >= 0 else "at least"
    up, down = ("rose", "fell") if bound >= 0 else ("fell", "rose")
    if budget.points is not None:
        return f"the accuracy on fresh examples {down} by {by} {size:.3g} points"
    if budget.relative is not None:
        return f"the loss on fresh examples {up} by {by} {100 * size:.3g} %"
    return f"the metric on fresh examples {down if budget.higher_is_better else up} by {by} {size:.3g}"
