"""The part of a result document about a budget: what was allowed, every reading, and what is handed over."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from expunge.report.schema_base import DocumentModel, Number


class BudgetLimitSection(DocumentModel):
    """What may be spent, in exactly one unit."""

    points: Number = None
    relative: Number = None
    metric: str | None = None
    drop: Number = None
    certify: bool = True

    @property
    def amount(self) -> float:
        """How much it is, as it is shown: points, percent of the held-out loss, or the metric's own unit."""
        if self.points is not None:
            return self.points
        return 100 * self.relative if self.relative is not None else (self.drop or 0.0)

    def scale_certified(self, value: float) -> float:
        """Return an amount of a certificate, in which points and a loss are shares, as ``amount`` is."""
        return value if self.metric is not None else 100 * value

    def to_display(self, value: float | None) -> float | None:
        """Return an amount as ``amount`` is: a relative loss in percent."""
        return 100 * value if value is not None and self.relative is not None else value

    @model_validator(mode="after")
    def check_one_unit(self) -> BudgetLimitSection:
        """Refuse two units, and none."""
        units = (self.points, self.relative, None if self.metric is None else self.drop)
        if sum(unit is not None for unit in units) != 1:
            raise ValueError("a budget must have exactly one of points, relative, and metric with drop")
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
    missing: Number = None
    recognised: Number = None
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
    """What of a forgotten class may still be recognised, how far from .5 an AUC may lie, and accuracies apart.

    ``own`` says that it is recognised by the model's own error.
    """

    recognised: float = 0.005
    margin: float = 0.05
    close: Number = None
    own: bool = False


class TrialSection(DocumentModel):
    """A short run at one rate; what is None was not finite, because it diverged."""

    rate: float
    rise: Number = None
    spent: Number = None
    recognised: Number = None
    distance: Number = None


class SearchRoundSection(DocumentModel):
    """Trials on one share of the data."""

    share: float
    trials: tuple[TrialSection, ...]


class SearchSection(DocumentModel):
    """What was tried before the run, the rate that it came to, and how many seconds it took."""

    rounds: tuple[SearchRoundSection, ...]
    rate: float
    seconds: float


class BudgetSection(DocumentModel):
    """What became of a budget."""

    asked: BudgetLimitSection
    prefer: Literal["budget", "forgetting"] = "budget"
    looks: tuple[EvaluationSection, ...] = Field(min_length=1)
    chosen: int = Field(ge=0)
    kept: bool
    reached: bool | None
    verdict: Literal["not distinguishable", "still distinguishable", "undecided"] | None = None
    frontier: tuple[int, ...] = ()
    certificate: CertificateSection | None = None
    certified: bool | None = None
    unsaid: str = ""
    reopened: tuple[int, ...] = ()
    sentence: str
    examples: SplitSizesSection | None = None
    smallest: Number = None
    criterion: CriterionSection = CriterionSection()
    search: SearchSection | None = None

    @model_validator(mode="after")
    def check_indices(self) -> BudgetSection:
        """Refuse places that are not among the readings."""
        if not all(0 <= index < len(self.looks) for index in (self.chosen, *self.frontier)):
            raise ValueError("'chosen' and 'frontier' must be places among the looks")
        return self

    @property
    def chosen_evaluation(self) -> EvaluationSection:
        """The reading of the model that is handed over."""
        return self.looks[self.chosen]

    @property
    def is_unchanged(self) -> bool:
        """Whether the model is handed back as it came."""
        return self.chosen == 0
