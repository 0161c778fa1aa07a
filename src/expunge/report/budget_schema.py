"""The part of a result document about a budget: what was allowed, every reading, and what is handed over."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from expunge.report.schema_base import DocumentModel, Number


class BudgetLimitSection(DocumentModel):
    """What may be spent, in exactly one unit."""

    accuracy_points: Number = None
    loss_increase: Number = None
    metric: str | None = None
    max_drop: Number = None
    certify: bool = True

    @property
    def amount(self) -> float:
        """How much it is, as it is shown: points, percent of the held-out loss, or the metric's own unit."""
        if self.accuracy_points is not None:
            return self.accuracy_points
        return 100 * self.loss_increase if self.loss_increase is not None else (self.max_drop or 0.0)

    def scale_certified(self, value: float) -> float:
        """Return an amount of a certificate, in which points and a loss are shares, as ``amount`` is."""
        return value if self.metric is not None else 100 * value

    def to_display(self, value: float | None) -> float | None:
        """Return an amount as ``amount`` is: a relative loss in percent."""
        return 100 * value if value is not None and self.loss_increase is not None else value

    @model_validator(mode="after")
    def check_one_unit(self) -> BudgetLimitSection:
        """Refuse two units, and none."""
        units = (self.accuracy_points, self.loss_increase, None if self.metric is None else self.max_drop)
        if sum(unit is not None for unit in units) != 1:
            raise ValueError(
                "a budget must have exactly one of accuracy_points, loss_increase, and metric with max_drop"
            )
        return self


class HeldOutSection(DocumentModel):
    """What a test of forgotten against held-out examples shows; neither where it is undecided."""

    verdict: Literal["not distinguishable", "still distinguishable", "undecided"]
    sentence: str
    examples: int = Field(ge=0)
    needed: int | None = None


class EvaluationSection(DocumentModel):
    """One control reading; ``spent`` is None where it was not finite."""

    step: int = Field(ge=0)
    spent: Number = None
    shortfall: Number = None
    recognized: Number = None
    auc: Number = None
    verdict: Literal["equivalent", "remembered", "over-forgotten", "undecided"] | None = None
    test: HeldOutSection | None = None


class CertificateSection(DocumentModel):
    """What one opening of the certify half says; of accuracy and of a loss, drop and bounds are shares."""

    kind: Literal["accuracy", "bounded mean", "mean", "whole set"] = "accuracy"
    exact: bool = True
    examples: int = Field(ge=1)
    lost: int | None = None
    gained: int | None = None
    delta: float = Field(gt=0, lt=1)
    drop: float
    bound: float
    approximate: Number = None
    smallest: Number = None

    @model_validator(mode="after")
    def check_counts(self) -> CertificateSection:
        """Refuse a certificate of accuracy without its counts."""
        if self.kind == "accuracy" and (self.lost is None or self.gained is None):
            raise ValueError("a certificate of accuracy must have 'lost' and 'gained'")
        return self


class SplitSizesSection(DocumentModel):
    """How many held-out examples steered, and how many certified."""

    control: int
    certify: int


class CriterionSection(DocumentModel):
    """What of a forgotten class may still be recognized, how far from .5 an AUC may lie, and accuracies apart.

    ``uses_model_error`` says that it is recognized by the model's own error.
    """

    max_recognized: float = 0.005
    margin: float = 0.05
    max_accuracy_gap: Number = None
    uses_model_error: bool = False


class TrialSection(DocumentModel):
    """A short run at one rate; what is None was not finite, because it diverged."""

    lr: float
    loss_increase: Number = None
    spent: Number = None
    recognized: Number = None
    distance: Number = None


class SearchRoundSection(DocumentModel):
    """Trials on one share of the data."""

    fraction: float
    trials: tuple[TrialSection, ...]


class SearchSection(DocumentModel):
    """What was tried before the run, the rate that it came to, and how many seconds it took."""

    rounds: tuple[SearchRoundSection, ...]
    lr: float
    seconds: float


class BudgetSection(DocumentModel):
    """What became of a budget."""

    limit: BudgetLimitSection
    priority: Literal["budget", "forgetting"] = "budget"
    evaluations: tuple[EvaluationSection, ...] = Field(min_length=1)
    chosen: int = Field(ge=0)
    within_budget: bool
    target_met: bool | None
    verdict: Literal["not distinguishable", "still distinguishable", "undecided"] | None = None
    pareto_indices: tuple[int, ...] = ()
    certificate: CertificateSection | None = None
    certified: bool | None = None
    no_certificate_reason: str = ""
    reopened: tuple[int, ...] = ()
    summary: str
    examples: SplitSizesSection | None = None
    smallest: Number = None
    criterion: CriterionSection = CriterionSection()
    search: SearchSection | None = None

    @model_validator(mode="after")
    def check_indices(self) -> BudgetSection:
        """Refuse places that are not among the readings."""
        if not all(0 <= index < len(self.evaluations) for index in (self.chosen, *self.pareto_indices)):
            raise ValueError("'chosen' and 'pareto_indices' must be indices of evaluations")
        return self

    @property
    def chosen_evaluation(self) -> EvaluationSection:
        """The reading of the model that is handed over."""
        return self.evaluations[self.chosen]

    @property
    def is_unchanged(self) -> bool:
        """Whether the model is handed back as it came."""
        return self.chosen == 0
