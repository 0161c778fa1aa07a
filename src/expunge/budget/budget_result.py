"""Spending: what a budget was asked for, what became of it at each reading, and what is handed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import inf, isfinite
from typing import Any

from expunge.budget.budget import Budget
from expunge.budget.certificate import Certificate, CertificateKind
from expunge.budget.criterion import MAX_RECOGNIZED
from expunge.budget.equivalence_test import EquivalenceOutcome
from expunge.budget.selection import Candidate, Preference
from expunge.formatting import format_examples, format_number, format_percent
from expunge.metrics import HeldOutTest, HeldOutVerdict

USED_UP_FRACTION = 0.8
"""Share of a budget, or of a time limit, from which it may have been what ended the run."""
RETRAIN_HINT = "`expunge estimate-retrain` tells what retraining would cost"


@dataclass(frozen=True)
class ControlEvaluation:
    """One control reading.

    Args:
        step: Updates before it.
        loss: Mean held-out loss.
        accuracy: Percent of the held-out examples.
        value: Of the user's metric, where there is one.
        spent: In the budget's own unit.
        tolerance: τ after it, in nats.
        shortfall: How far the forgetting is from what was asked, ≥ 0.
        recognized: Share of the forgotten classes that is still recognized.
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
    shortfall: float
    recognized: float | None = None
    auc: float | None = None
    verdict: EquivalenceOutcome | None = None
    failed: str = ""
    test: HeldOutTest | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ControlEvaluation:
        """Return the reading that ``asdict`` made plain values of."""
        test = values.get("test")
        return cls(**{**values, "test": None if test is None else HeldOutTest.from_dict(test)})

    @property
    def meets_target(self) -> bool:
        """Whether it forgets as asked by the estimate, and no test shows the contrary."""
        return self.shortfall <= 0 and self.target_met is not False

    @property
    def target_met(self) -> bool | None:
        """Whether it forgets as asked; None where it cannot be decided. Where nothing was tested the estimate says."""
        if self.test is None:
            return self.shortfall <= 0
        return {"not distinguishable": True, "still distinguishable": False, "undecided": None}[self.test.verdict]

    def as_candidate(self) -> Candidate:
        """Return what the choice of an iterate looks at."""
        return Candidate(self.spent, self.shortfall)


@dataclass(frozen=True)
class BudgetResult:
    """What became of a budget.

    Args:
        budget: The budget.
        priority: What was to come first where both cannot be had.
        evaluations: All control readings; the first is the model that was handed in.
        chosen: Place of the model that is handed over among them; 0 is the one that was handed in.
        within_budget: Whether it is inside the budget, on the control half.
        target_met: Whether it forgets as asked: shown, shown not to, or None where so few examples decide nothing.
        pareto_indices: Places of the iterates that no other one beats, from the cheapest to the one that forgets most.
        certificate: In the budget's unit, from the certify half, opened once; None where it stayed closed, because the
            model is handed back as it came, or where nothing can be said.
        no_certificate_reason: Why nothing can be said; empty where something is, or the half stayed closed.
        limit: Share of what is to be forgotten as a whole that may still be recognized.
        uses_model_error: Whether it is recognized by the model's own error, and not by what a classifier answers.
            Default false.
        time_fraction: Share of the time limit that the run took, 1 where it was planned shorter for lack of time; None
            without a limit.
        reopened: Entries of the ledger that had opened held-out examples of this request before: it certifies nothing
            then. Default: none.
        on_test: What a test on other held-out examples, the test data, shows where the control half decides nothing.
            Default: unknown.
        misfit: What shows that the model did not know the data before the run, so that nothing follows from the rest.
            Default: nothing does.
    """

    budget: Budget
    priority: Preference
    evaluations: tuple[ControlEvaluation, ...]
    chosen: int
    within_budget: bool
    target_met: bool | None
    pareto_indices: tuple[int, ...]
    certificate: Certificate | None = None
    no_certificate_reason: str = ""
    limit: float = MAX_RECOGNIZED
    uses_model_error: bool = False
    time_fraction: float | None = field(default=None, compare=False)
    reopened: tuple[int, ...] = ()
    misfit: str = ""
    on_test: HeldOutVerdict | None = None

    @property
    def bound_within_budget(self) -> bool | None:
        """Whether the certificate's bound is inside the budget; None without one, and for a model that knew nothing."""
        if self.certificate is None or self.misfit:
            return None
        return self.budget.scale * self.certificate.bound <= self.budget.allowed

    @property
    def certified(self) -> bool | None:
        """Whether an exact bound on fresh data is inside the budget; None where it is approximate, or without one."""
        if self.certificate is not None and self.reopened:
            return False
        return self.bound_within_budget if self.certificate is not None and self.certificate.exact else None

    @property
    def summary(self) -> str:
        """What became of the budget, for people."""
        if self.misfit:
            return f"Neither a kept budget nor forgetting is shown, because before the run {self.misfit}."
        parts = [self.describe_outcome(), *self.describe_cheapest(), *self.describe_failures()]
        return " ".join([*parts, *describe_certificate(self), *self.suggest_next_steps()])

    @property
    def test(self) -> HeldOutTest | None:
        """What is shown of the forgetting of the model that is handed over."""
        return self.evaluations[self.chosen].test

    def with_class_names(self, class_names: Sequence[str]) -> BudgetResult:
        """Return the same with classes called by their names."""
        looks = (
            look if look.test is None else replace(look, test=look.test.with_class_names(class_names))
            for look in self.evaluations
        )
        return replace(self, evaluations=tuple(looks))

    def with_needed(self, needed: int | None) -> BudgetResult:
        """Return the same with another number of examples that would decide about the model that is handed over."""
        handed = self.evaluations[self.chosen]
        if handed.test is None:
            return self
        looks = (*self.evaluations[: self.chosen], replace(handed, test=replace(handed.test, needed=needed)))
        return replace(self, evaluations=(*looks, *self.evaluations[self.chosen + 1 :]))

    @property
    def verdict(self) -> HeldOutVerdict:
        """Whether the forgotten examples can be told from held-out data, where that can be decided.

        ``not distinguishable`` and ``still distinguishable`` are shown, on the control half; ``undecided`` is neither.
        """
        if self.misfit:
            return "undecided"
        if self.test is not None:
            return self.test.verdict
        return "not distinguishable" if self.target_met else "still distinguishable"

    def describe_outcome(self) -> str:
        """Return whether the budget was kept and the request met."""
        allowed, handed = format_amount(self.budget, self.budget.allowed), self.evaluations[self.chosen]
        if self.chosen == 0:
            why = "what the iterates spent is not known" if self.all_failed else "every iterate spent more"
            return (
                f"The budget of {allowed} could not be kept: {why}. The model is handed back as it came and has "
                "forgotten nothing."
            )
        spent = "an unknown amount spent" if handed.failed else format_spent(self.budget, handed.spent)
        spent = f"{spent} after update {handed.step:,}"
        if self.within_budget:
            return f"The budget of {allowed} was kept, {self.describe_target()}; {spent}."
        budget = f"the budget of {allowed} was"
        verdict = f"Whether {budget} kept is not known" if handed.failed else f"T{budget[1:]} not kept"
        return f"{verdict}. {self.describe_forgetting()}; {spent}."

    def describe_target(self) -> str:
        """Return whether the request was met inside the budget, as the second half of a sentence."""
        if self.verdict == "undecided" and self.test is not None:
            return f"but whether the request was met {describe_undecided(self.test)}"
        if self.verdict == "still distinguishable":
            return f"but within it the request was not met: {describe_shortfall(self.evaluations[self.chosen])}"
        return f"and the request was met: {describe_shortfall(self.evaluations[self.chosen])}"

    def describe_forgetting(self) -> str:
        """Return whether the model forgets as asked, as a clause of its own."""
        if self.verdict == "undecided" and self.test is not None:
            return f"Whether the model forgets as asked {describe_undecided(self.test)}"
        does = "does not forget" if self.verdict == "still distinguishable" else "forgets"
        return f"The model {does} as asked: {describe_shortfall(self.evaluations[self.chosen])}"

    def describe_cheapest(self) -> list[str]:
        """Return what forgetting as asked would have cost, where the model that is handed over is shown not to."""
        if self.verdict != "still distinguishable":
            return []
        costs = [self.evaluations[index].spent for index in self.pareto_indices if self.evaluations[index].meets_target]
        if not costs:
            return ["No iterate forgot as asked."]
        min_cost = min(costs)
        if not isfinite(min_cost):
            return ["What the iterates that forgot as asked spent is not known."]
        if self.budget.loss_increase is not None and min_cost < 0:
            gain = format_percent(-min_cost)
            return [f"The cheapest iterate that forgot as asked lowered the held-out loss by {gain}."]
        verb = "gained" if min_cost < 0 else "spent"
        return [f"The cheapest iterate that forgot as asked {verb} {format_amount(self.budget, abs(min_cost))}."]

    def describe_failures(self) -> list[str]:
        """Return at which readings the metric failed."""
        failed = [look for look in self.evaluations if look.failed]
        if not failed:
            return []
        count = "count" if len(failed) > 1 else "counts"
        many = f"{len(failed)} of {len(self.evaluations) - 1} readings, which {count}"
        return [f"The metric failed at {many} as over the budget: after update {failed[0].step}, {failed[0].failed}."]

    @property
    def all_failed(self) -> bool:
        """Whether the metric had no value at any reading after the first."""
        return len(self.evaluations) > 1 and all(look.failed for look in self.evaluations[1:])

    def suggest_next_steps(self) -> list[str]:
        """Return what can be done where forgetting as asked is not shown: what the run lacked, and nothing else."""
        if self.all_failed:
            return ["Let the metric return a finite number for every model, or choose another unit for the budget."]
        if self.chosen == 0:
            alternative = "" if self.uses_model_error else f"; {RETRAIN_HINT}"
            return [f"A larger budget or a smaller `lr` may be enough{alternative}."]
        if self.verdict == "not distinguishable":
            return []
        if self.verdict == "undecided" and self.on_test not in (None, "undecided"):
            return [f"The test data decide it: the forgotten examples are {self.on_test} from held-out data."]
        if self.verdict == "undecided":
            return ["More forgotten and held-out examples would decide it; a larger budget or more time would not."]
        shortages = self.list_shortages()
        if not shortages:
            return [f"{self.describe_unused()}{'' if self.uses_model_error else f'; {RETRAIN_HINT}'}."]
        more = f"{' or '.join(shortages)} may be enough"
        return [f"{more[0].upper()}{more[1:]}{'' if self.uses_model_error else f'; {RETRAIN_HINT}'}."]

    def list_shortages(self) -> list[str]:
        """Return what there was too little of, as the readings show it."""
        limit = USED_UP_FRACTION * self.budget.allowed
        bound = any(limit <= look.spent < inf for look in self.evaluations[1:])
        short = self.time_fraction is not None and self.time_fraction >= USED_UP_FRACTION
        return [*(["a larger budget"] if bound else []), *(["more time (`time_limit`)"] if short else [])]

    def describe_unused(self) -> str:
        """Return what can be tried where neither the budget nor the time was used up."""
        max_spent = max((look.spent for look in self.evaluations[1:] if look.spent < inf), default=0.0)
        percent = max(0.0, max_spent) / self.budget.allowed if self.budget.allowed else 0.0
        time = "" if self.time_fraction is None else " and did not lack time"
        used, test = f"The run used {format_percent(percent)} of the budget{time}", self.test
        if test is not None and test.auc_high is not None and test.auc_high < 0.5:
            return f"{used}, but the forgetting went too far: try a smaller `lr` or fewer `epochs`"
        return f"{used}: try more `epochs`, a larger `lr`, or another method"

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        metric = self.budget.metric
        name = getattr(metric, "__name__", "")
        budget = {
            **vars(self.budget),
            "metric": None if metric is None else name if name.isidentifier() else "the metric",
        }
        return {
            "limit": budget,
            "priority": self.priority,
            "evaluations": [evaluation_as_dict(look) for look in self.evaluations],
            "chosen": self.chosen,
            "within_budget": self.within_budget,
            "target_met": self.target_met,
            "verdict": self.verdict,
            "pareto_indices": list(self.pareto_indices),
            "certificate": None if self.certificate is None else self.certificate.as_dict(),
            "certified": self.certified,
            "no_certificate_reason": self.no_certificate_reason,
            "reopened": list(self.reopened),
            "misfit": self.misfit,
            "summary": self.summary,
        }


def evaluation_as_dict(evaluation: ControlEvaluation) -> dict[str, Any]:
    """Return a reading as plain values; what is not finite is None, as JSON has no NaN."""
    values = asdict(evaluation) | {"test": None if evaluation.test is None else evaluation.test.as_dict()}
    return {name: None if isinstance(v, float) and not isfinite(v) else v for name, v in values.items()}


def format_amount(budget: Budget, value: float) -> str:
    """Return an amount in the budget's own unit, in words.

    Examples:
        >>> format_amount(Budget(accuracy_points=1.0), 1.0), format_amount(Budget(loss_increase=0.1), 0.05)
        ('1 point', '5 % of the held-out loss')
    """
    if budget.accuracy_points is not None:
        return f"{format_number(value)} point{'' if value == 1 else 's'}"
    if budget.loss_increase is not None:
        return f"{format_percent(value)} of the held-out loss"
    return f"{format_number(value)} of the metric"


def format_spent(budget: Budget, value: float) -> str:
    """Return what was spent, in words; a gain is called one.

    Examples:
        >>> format_spent(Budget(accuracy_points=1.0), 0.5), format_spent(Budget(accuracy_points=1.0), -12.7)
        ('0.5 points spent', '12.7 points gained')
        >>> format_spent(Budget(loss_increase=0.1), -0.03)
        'the held-out loss is 3 % lower'
    """
    if budget.loss_increase is not None and value < 0:
        return f"the held-out loss is {format_percent(-value)} lower"
    return f"{format_amount(budget, abs(value))} {'gained' if value < 0 else 'spent'}"


def describe_undecided(test: HeldOutTest) -> str:
    """Return that so few examples decide nothing, and how many would."""
    return f"cannot be decided with {format_examples(test.examples)}{test.needs_text}"


def describe_shortfall(evaluation: ControlEvaluation) -> str:
    """Return what decided about the forgotten examples, with its figures."""
    if evaluation.test is not None:
        return evaluation.test.figures_text
    if evaluation.recognized is not None:
        return f"{format_percent(evaluation.recognized)} of the class are still recognized"
    return f"what is missing is {format_number(evaluation.shortfall)}"


def describe_certificate(result: BudgetResult) -> list[str]:
    """Return what the certify half says."""
    certificate = result.certificate
    if not result.budget.certify and result.chosen:
        return ["No certificate was asked for: all held-out examples steered."]
    if certificate is None:
        reason = result.no_certificate_reason
        return [f"The certify half says nothing: {reason}."] if reason else []
    inside = "inside the budget" if result.bound_within_budget else "more than the budget"
    level, about = format_percent(1 - certificate.delta), "" if certificate.exact else "about "
    end = "" if certificate.exact else f" This is approximate, by {APPROXIMATION_NAMES[certificate.kind]}."
    bound = describe_bound(result.budget, result.budget.scale * certificate.bound)
    statement = f"With {about}{level} confidence {bound}"
    return [f"{statement}, which is {inside}.{end}", *([describe_reopened(result.reopened)] if result.reopened else [])]


def describe_reopened(entries: Sequence[int]) -> str:
    """Return that nothing is certified on data which earlier requests have opened.

    Examples:
        >>> describe_reopened([1])[:63]
        'This is not certified: entry 1 of the ledger has opened some of'
    """
    which = f"entry {entries[0]}" if len(entries) == 1 else f"entries {', '.join(map(str, entries))}"
    have = "has" if len(entries) == 1 else "have"
    return (
        f"This is not certified: {which} of the ledger {have} opened some of these held-out examples before, and the "
        "model comes after that; hold out fresh examples."
    )


APPROXIMATION_NAMES: Mapping[CertificateKind, str] = {"mean": "a paired bootstrap", "whole set": "a jackknife"}
"""How a bound was found that is not exact."""


def describe_bound(budget: Budget, bound: float) -> str:
    """Return a bound in words.

    Examples:
        >>> describe_bound(Budget(accuracy_points=1.0), 0.5), describe_bound(Budget(loss_increase=0.1), -0.02)
        ('the accuracy on fresh examples fell by at most 0.5 points', 'the loss on fresh examples fell by at least 2 %')
    """
    size, by = abs(bound), "at most" if bound >= 0 else "at least"
    up, down = ("rose", "fell") if bound >= 0 else ("fell", "rose")
    if budget.accuracy_points is not None:
        return f"the accuracy on fresh examples {down} by {by} {format_number(size)} points"
    if budget.loss_increase is not None:
        return f"the loss on fresh examples {up} by {by} {format_percent(size)}"
    return f"the metric on fresh examples {down if budget.higher_is_better else up} by {by} {format_number(size)}"
