"""Spending: what a budget was asked for, what became of it at each reading, and what is handed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import inf, isfinite
from typing import Any

from expunge.budget.budget import Budget
from expunge.budget.certificate import Certificate, Kind
from expunge.budget.choice import Candidate, Preference
from expunge.budget.forgetting import RECOGNISED
from expunge.budget.stop import Verdict
from expunge.formatting import format_examples, format_number, format_percent
from expunge.metrics import HeldOutTest, HeldOutVerdict

USED_UP = 0.8
"""Share of a budget, or of a time limit, from which it may have been what ended the run."""
RETRAINING = "`expunge estimate-retrain` tells what retraining would cost"


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
        test: What is shown of the forgetting, which so few examples may leave undecided.
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
    test: HeldOutTest | None = None

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Look:
        """Return the reading that ``asdict`` made plain values of."""
        test = values.get("test")
        return cls(**{**values, "test": None if test is None else HeldOutTest.from_plain(test)})

    @property
    def met(self) -> bool:
        """Whether it forgets as asked by the estimate, and no test shows the contrary."""
        return self.missing <= 0 and self.reached is not False

    @property
    def reached(self) -> bool | None:
        """Whether it forgets as asked; None where it cannot be decided. Where nothing was tested the estimate says."""
        if self.test is None:
            return self.missing <= 0
        return {"not distinguishable": True, "still distinguishable": False, "undecided": None}[self.test.verdict]

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
        reached: Whether it forgets as asked: shown, shown not to, or None where so few examples decide nothing.
        frontier: Places of the iterates that no other one beats, from the cheapest to the one that forgets most.
        certificate: In the budget's unit, from the certify half, opened once; None where it stayed closed, because the
            model is handed back as it came, or where nothing can be said.
        unsaid: Why nothing can be said; empty where something is, or the half stayed closed.
        limit: Share of what is to be forgotten as a whole that may still be recognised.
        own: Whether it is recognised by the model's own error, and not by what a classifier answers. Default false.
        time_share: Share of the time limit that the run took, 1 where it was planned shorter for lack of time; None
            without a limit.
        reopened: Entries of the ledger that had opened held-out examples of this request before: it certifies nothing
            then. Default: none.
        on_test: What a test on other held-out examples, the test data, shows where the control half decides nothing.
            Default: unknown.
        misfit: What shows that the model did not know the data before the run, so that nothing follows from the rest.
            Default: nothing does.
    """

    asked: Budget
    prefer: Preference
    looks: tuple[Look, ...]
    chosen: int
    kept: bool
    reached: bool | None
    frontier: tuple[int, ...]
    certificate: Certificate | None = None
    unsaid: str = ""
    limit: float = RECOGNISED
    own: bool = False
    time_share: float | None = field(default=None, compare=False)
    reopened: tuple[int, ...] = ()
    misfit: str = ""
    on_test: HeldOutVerdict | None = None

    @property
    def inside(self) -> bool | None:
        """Whether the certificate's bound is inside the budget; None without one, and for a model that knew nothing."""
        if self.certificate is None or self.misfit:
            return None
        return self.asked.scale * self.certificate.bound <= self.asked.allowed

    @property
    def certified(self) -> bool | None:
        """Whether an exact bound on fresh data is inside the budget; None where it is approximate, or without one."""
        if self.certificate is not None and self.reopened:
            return False
        return self.inside if self.certificate is not None and self.certificate.exact else None

    @property
    def sentence(self) -> str:
        """What became of the budget, for people."""
        if self.misfit:
            return f"Neither a kept budget nor forgetting is shown, because before the run {self.misfit}."
        parts = [self.outcome(), *self.cheapest(), *self.failures(), *certified_words(self), *self.advice()]
        return " ".join(parts)

    @property
    def test(self) -> HeldOutTest | None:
        """What is shown of the forgetting of the model that is handed over."""
        return self.looks[self.chosen].test

    def named(self, class_names: Sequence[str]) -> Spending:
        """Return the same with classes called by their names."""
        looks = (look if look.test is None else replace(look, test=look.test.named(class_names)) for look in self.looks)
        return replace(self, looks=tuple(looks))

    def with_needed(self, needed: int | None) -> Spending:
        """Return the same with another number of examples that would decide about the model that is handed over."""
        handed = self.looks[self.chosen]
        if handed.test is None:
            return self
        looks = (*self.looks[: self.chosen], replace(handed, test=replace(handed.test, needed=needed)))
        return replace(self, looks=(*looks, *self.looks[self.chosen + 1 :]))

    @property
    def verdict(self) -> HeldOutVerdict:
        """Whether the forgotten examples can be told from held-out data, where that can be decided.

        ``not distinguishable`` and ``still distinguishable`` are shown, on the control half; ``undecided`` is neither.
        """
        if self.misfit:
            return "undecided"
        if self.test is not None:
            return self.test.verdict
        return "not distinguishable" if self.reached else "still distinguishable"

    def outcome(self) -> str:
        """Return whether the budget was kept and the request met."""
        allowed, handed = amount(self.asked, self.asked.allowed), self.looks[self.chosen]
        if self.chosen == 0:
            why = "what the iterates spent is not known" if self.all_failed else "every iterate spent more"
            return (
                f"The budget of {allowed} could not be kept: {why}. The model is handed back as it came and has "
                "forgotten nothing."
            )
        spent = "an unknown amount spent" if handed.failed else paid(self.asked, handed.spent)
        spent = f"{spent} after update {handed.step:,}"
        if self.kept:
            return f"The budget of {allowed} was kept, {self.met_words()}; {spent}."
        budget = f"the budget of {allowed} was"
        kept = f"Whether {budget} kept is not known" if handed.failed else f"T{budget[1:]} not kept"
        return f"{kept}. {self.forgets_words()}; {spent}."

    def met_words(self) -> str:
        """Return whether the request was met inside the budget, as the second half of a sentence."""
        if self.verdict == "undecided" and self.test is not None:
            return f"but whether the request was met {undecided(self.test)}"
        if self.verdict == "still distinguishable":
            return f"but within it the request was not met: {left(self.looks[self.chosen])}"
        return f"and the request was met: {left(self.looks[self.chosen])}"

    def forgets_words(self) -> str:
        """Return whether the model forgets as asked, as a clause of its own."""
        if self.verdict == "undecided" and self.test is not None:
            return f"Whether the model forgets as asked {undecided(self.test)}"
        does = "does not forget" if self.verdict == "still distinguishable" else "forgets"
        return f"The model {does} as asked: {left(self.looks[self.chosen])}"

    def cheapest(self) -> list[str]:
        """Return what forgetting as asked would have cost, where the model that is handed over is shown not to."""
        if self.verdict != "still distinguishable":
            return []
        costs = [self.looks[index].spent for index in self.frontier if self.looks[index].met]
        if not costs:
            return ["No iterate forgot as asked."]
        least = min(costs)
        if not isfinite(least):
            return ["What the iterates that forgot as asked spent is not known."]
        if self.asked.relative is not None and least < 0:
            return [f"The cheapest iterate that forgot as asked lowered the held-out loss by {format_percent(-least)}."]
        did = "gained" if least < 0 else "spent"
        return [f"The cheapest iterate that forgot as asked {did} {amount(self.asked, abs(least))}."]

    def failures(self) -> list[str]:
        """Return at which readings the metric failed."""
        failed = [look for look in self.looks if look.failed]
        if not failed:
            return []
        many = f"{len(failed)} of {len(self.looks) - 1} readings, which {'count' if len(failed) > 1 else 'counts'}"
        return [f"The metric failed at {many} as over the budget: after update {failed[0].step}, {failed[0].failed}."]

    @property
    def all_failed(self) -> bool:
        """Whether the metric had no value at any reading after the first."""
        return len(self.looks) > 1 and all(look.failed for look in self.looks[1:])

    def advice(self) -> list[str]:
        """Return what can be done where forgetting as asked is not shown: what the run lacked, and nothing else."""
        if self.all_failed:
            return ["Let the metric return a finite number for every model, or choose another unit for the budget."]
        if self.chosen == 0:
            return [f"A larger budget or a smaller `rate` may be enough{'' if self.own else f'; {RETRAINING}'}."]
        if self.verdict == "not distinguishable":
            return []
        if self.verdict == "undecided" and self.on_test not in (None, "undecided"):
            return [f"The test data decide it: the forgotten examples are {self.on_test} from held-out data."]
        if self.verdict == "undecided":
            return ["More forgotten and held-out examples would decide it; a larger budget or more time would not."]
        lacked = self.lacked()
        if not lacked:
            return [f"{self.unused()}{'' if self.own else f'; {RETRAINING}'}."]
        more = f"{' or '.join(lacked)} may be enough"
        return [f"{more[0].upper()}{more[1:]}{'' if self.own else f'; {RETRAINING}'}."]

    def lacked(self) -> list[str]:
        """Return what there was too little of, as the readings show it."""
        limit = USED_UP * self.asked.allowed
        bound = any(limit <= look.spent < inf for look in self.looks[1:])
        short = self.time_share is not None and self.time_share >= USED_UP
        return [*(["a larger budget"] if bound else []), *(["more time (`within`)"] if short else [])]

    def unused(self) -> str:
        """Return what can be tried where neither the budget nor the time was used up."""
        most = max((look.spent for look in self.looks[1:] if look.spent < inf), default=0.0)
        share = max(0.0, most) / self.asked.allowed if self.asked.allowed else 0.0
        time = "" if self.time_share is None else " and did not lack time"
        used, test = f"The run used {format_percent(share)} of the budget{time}", self.test
        if test is not None and test.auc_high is not None and test.auc_high < 0.5:
            return f"{used}, but the forgetting went too far: try a smaller `rate` or fewer `epochs`"
        return f"{used}: try more `epochs`, a larger `rate`, or another method"

    def document(self) -> dict[str, Any]:
        """Return everything as plain values."""
        metric = self.asked.metric
        name = getattr(metric, "__name__", "")
        asked = {
            **vars(self.asked),
            "metric": None if metric is None else name if name.isidentifier() else "the metric",
        }
        return {
            "asked": asked,
            "prefer": self.prefer,
            "looks": [plain(look) for look in self.looks],
            "chosen": self.chosen,
            "kept": self.kept,
            "reached": self.reached,
            "verdict": self.verdict,
            "frontier": list(self.frontier),
            "certificate": None if self.certificate is None else self.certificate.document(),
            "certified": self.certified,
            "unsaid": self.unsaid,
            "reopened": list(self.reopened),
            "misfit": self.misfit,
            "sentence": self.sentence,
        }


def plain(look: Look) -> dict[str, Any]:
    """Return a reading as plain values; what is not finite is None, as JSON has no NaN."""
    values = asdict(look) | {"test": None if look.test is None else look.test.plain()}
    return {name: None if isinstance(v, float) and not isfinite(v) else v for name, v in values.items()}


def amount(budget: Budget, value: float) -> str:
    """Return an amount in the budget's own unit, in words.

    Examples:
        >>> amount(Budget(points=1.0), 1.0), amount(Budget(relative=0.1), 0.05)
        ('1 point', '5 % of the held-out loss')
    """
    if budget.points is not None:
        return f"{format_number(value)} point{'' if value == 1 else 's'}"
    if budget.relative is not None:
        return f"{format_percent(value)} of the held-out loss"
    return f"{format_number(value)} of the metric"


def paid(budget: Budget, value: float) -> str:
    """Return what was spent, in words; a gain is called one.

    Examples:
        >>> paid(Budget(points=1.0), 0.5), paid(Budget(points=1.0), -12.7)
        ('0.5 points spent', '12.7 points gained')
        >>> paid(Budget(relative=0.1), -0.03)
        'the held-out loss is 3 % lower'
    """
    if budget.relative is not None and value < 0:
        return f"the held-out loss is {format_percent(-value)} lower"
    return f"{amount(budget, abs(value))} {'gained' if value < 0 else 'spent'}"


def undecided(test: HeldOutTest) -> str:
    """Return that so few examples decide nothing, and how many would."""
    return f"cannot be decided with {format_examples(test.examples)}{test.needs}"


def left(look: Look) -> str:
    """Return what decided about the forgotten examples, with its figures."""
    if look.test is not None:
        return look.test.figures
    if look.recognised is not None:
        return f"{format_percent(look.recognised)} of the class are still recognised"
    return f"what is missing is {format_number(look.missing)}"


def certified_words(spending: Spending) -> list[str]:
    """Return what the certify half says."""
    found = spending.certificate
    if not spending.asked.certify and spending.chosen:
        return ["No certificate was asked for: all held-out examples steered."]
    if found is None:
        return [f"The certify half says nothing: {spending.unsaid}."] if spending.unsaid else []
    inside = "inside the budget" if spending.inside else "more than the budget"
    level, about = format_percent(1 - found.delta), "" if found.exact else "about "
    end = "" if found.exact else f" This is approximate, by {APPROXIMATELY[found.kind]}."
    said = f"With {about}{level} confidence {moved(spending.asked, spending.asked.scale * found.bound)}"
    return [f"{said}, which is {inside}.{end}", *([reopened_words(spending.reopened)] if spending.reopened else [])]


def reopened_words(entries: Sequence[int]) -> str:
    """Return that nothing is certified on data which earlier requests have opened.

    Examples:
        >>> reopened_words([1])[:63]
        'This is not certified: entry 1 of the ledger has opened some of'
    """
    which = f"entry {entries[0]}" if len(entries) == 1 else f"entries {', '.join(map(str, entries))}"
    have = "has" if len(entries) == 1 else "have"
    return (
        f"This is not certified: {which} of the ledger {have} opened some of these held-out examples before, and the "
        "model comes after that; hold out fresh examples."
    )


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
        return f"the accuracy on fresh examples {down} by {by} {format_number(size)} points"
    if budget.relative is not None:
        return f"the loss on fresh examples {up} by {by} {format_percent(size)}"
    return f"the metric on fresh examples {down if budget.higher_is_better else up} by {by} {format_number(size)}"
