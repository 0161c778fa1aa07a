"""The result document that every report is made of: its parts, and the check that a given one is such a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from expunge.errors import DataError, is_unicode
from expunge.report.audit_schema import AttackSection, AuditSection
from expunge.report.budget_schema import BudgetSection, HeldOutSection
from expunge.report.schema_base import DocumentModel, Number

SCHEMA = 2
"""The one schema that this version reads."""


class MetricSection(DocumentModel):
    """A column: what it is called, what it means and which way is good."""

    key: str
    label: str
    unit: str = ""
    definition: str = ""
    direction: Literal["match", "higher", "lower"] = "match"

    @property
    def shown_unit(self) -> str:
        """The unit where a heading needs it: empty where the label says it already."""
        return "" if self.label.lower().startswith(self.unit.lower()) else self.unit


class Score(DocumentModel):
    """One metric of one model: a value per seed, their mean, and half the width of the 95 % interval."""

    values: tuple[Number, ...] = ()
    mean: Number = None
    half_width: Number = None


class StepSection(DocumentModel):
    """What one update was like."""

    step: int
    forget_loss: Number = None
    retain_loss: Number = None
    cosine: Number = None
    multiplier: Number = None
    projected_fraction: Number = None


class Evidence(DocumentModel):
    """What stands behind the figures of one model at one seed, as far as a report shows it."""

    attacks: tuple[AttackSection, ...] = ()
    held_out: HeldOutSection | None = None


class ModelRow(DocumentModel):
    """One model of a request: the original, the retrained reference, or what a method made."""

    key: str
    label: str
    role: Literal["original", "retrained", "method"]
    paper: str = ""
    scores: dict[str, Score] = Field(default_factory=dict)
    per_class: tuple[Number, ...] = ()
    history: tuple[StepSection, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()

    @property
    def attacks(self) -> tuple[AttackSection, ...]:
        """The membership attacks at the first seed; none where they were not measured."""
        return self.evidence[0].attacks if self.evidence else ()

    @property
    def held_out(self) -> HeldOutSection | None:
        """What a test against held-out examples shows of a model of one seed; None of several."""
        return self.evidence[0].held_out if len(self.evidence) == 1 else None

    def mean(self, key: str) -> float | None:
        """Return the mean of a metric, None if the model has none."""
        score = self.scores.get(key)
        return None if score is None else score.mean

    def half_width(self, key: str) -> float | None:
        score = self.scores.get(key)
        return None if score is None else score.half_width


class Example(DocumentModel):
    """A forgotten example with what the models say it is."""

    image: str
    label: str
    original: str | None = None
    retrained: str | None = None
    unlearned: dict[str, str] = Field(default_factory=dict)


class GridRow(DocumentModel):
    """A model's pictures."""

    label: str
    images: tuple[str, ...]


class Grid(DocumentModel):
    """Pictures that several models made of the same requests with the same seeds."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[GridRow, ...]

    @model_validator(mode="after")
    def check_rows_full(self) -> Grid:
        """Refuse a row that has not one picture for each column."""
        if any(len(row.images) != len(self.columns) for row in self.rows):
            raise ValueError("every row of a grid must have one picture for each column")
        return self


class Sizes(DocumentModel):
    """How many examples each part of the data has."""

    train: int | None = None
    forget: int
    retain: int | None = None
    test: int | None = None


class MissingRow(DocumentModel):
    """A model of the table that has no figures at one seed: it failed, or was not made yet."""

    row: str
    seed: int
    sentence: str


class FitSection(DocumentModel):
    """How well the original knew one side of the data before the run, beside what chance gives."""

    side: str
    measure: str
    examples: int = Field(ge=0)
    value: Number = None
    chance: Number = None
    level: str
    warning: str = ""


MISFIT_LEVELS = frozenset({("retain", "chance"), ("retain", "below"), ("holdout", "below")})
"""Sides and levels of a fit with which no figure means anything."""


class BudgetKept(DocumentModel):
    """Whether a method kept its budget at one seed of a comparison."""

    seed: int
    within_budget: bool | None = None


class EarlierAccuracy(DocumentModel):
    """How many examples of an earlier request each model gets right, in percent by role."""

    examples: int = 0
    accuracy: dict[str, Number] = Field(default_factory=dict)


class NoiseChange(DocumentModel):
    """By how much the noise predicted for an earlier request's prompts changed, and for kept ones, in percent."""

    prompts: int = 0
    change: Number = None
    kept_change: Number = None


class EarlierSection(DocumentModel):
    """An earlier request of the chain: the ledger's entry (none if the request file names it), and what is left of it.

    ``labels`` are of the classes that it forgot as a whole. Of ``train``, the forgotten examples themselves;
    ``held_out`` ones of classes that were forgotten as a whole; and images ``drawn`` of such classes. ``noise`` is of
    prompts that name the concepts of a text-to-image model's earlier request.
    """

    entry: int | None = None
    classes: int = 0
    labels: tuple[int, ...] = ()
    train: EarlierAccuracy = EarlierAccuracy()
    held_out: EarlierAccuracy = EarlierAccuracy()
    drawn: EarlierAccuracy = EarlierAccuracy()
    noise: NoiseChange | None = None
    rose: bool = False

    @property
    def parts(self) -> dict[str, EarlierAccuracy]:
        """What was measured, by name."""
        every = {"train": self.train, "held_out": self.held_out, "drawn": self.drawn}
        return {name: part for name, part in every.items() if part.accuracy}


class ExclusionSection(DocumentModel):
    """How many examples a request leaves out because earlier ones forgot them, and entries that do not say which.

    Of a model that the ledger does not know, ``elsewhere`` names entries that forgot some of what it retains; where the
    data have no ids, ``without_ids`` names entries that know some; ``beside`` names entries that this request does not
    follow and that forgot some of what it retains.
    """

    retain: int = 0
    holdout: int = 0
    test: int = 0
    unknown: tuple[int, ...] = ()
    elsewhere: tuple[int, ...] = ()
    without_ids: tuple[int, ...] = ()
    beside: tuple[int, ...] = ()


class RequestSection(DocumentModel):
    """One forget request with everything that was measured for it."""

    id: str
    description: str
    kind: Literal["class", "fraction", "indices", "ids", "predicate", "concept"]
    sizes: Sizes
    classes: tuple[str, ...] = ()
    seeds: tuple[int, ...]
    retrained: bool
    metrics: tuple[MetricSection, ...] = Field(min_length=1)
    noise_floor: Score | None = None
    noise_floors: dict[str, Score] = Field(default_factory=dict)
    rows: tuple[ModelRow, ...] = Field(min_length=1)
    examples: tuple[Example, ...] = ()
    grids: tuple[Grid, ...] = ()
    incomplete: tuple[MissingRow, ...] = ()
    budgets: dict[str, tuple[BudgetKept, ...]] = Field(default_factory=dict)
    budget: BudgetSection | None = None
    fit: tuple[FitSection, ...] = ()
    audit: AuditSection | None = None
    title: str = ""
    earlier: tuple[EarlierSection, ...] = ()
    left_out: ExclusionSection | None = None

    @model_validator(mode="after")
    def check_reference(self) -> RequestSection:
        """Refuse a request whose word about the reference and whose rows disagree."""
        if self.retrained != (self.row("retrained") is not None):
            raise ValueError("'retrained' must be true exactly where there is a row with the role 'retrained'")
        return self

    def row(self, role: str) -> ModelRow | None:
        """Return the first row with a role, None if there is none."""
        return next((row for row in self.rows if row.role == role), None)

    @property
    def fit_warning(self) -> str:
        """What seems wrong with model and data, in sentences; empty where they fit."""
        return " ".join(fit.warning for fit in self.fit if fit.warning)

    @property
    def has_misfit(self) -> bool:
        """Whether the original knew the retained data no better than chance, or held-out ones worse than that."""
        return any((fit.side, fit.level) in MISFIT_LEVELS for fit in self.fit)

    @property
    def measured(self) -> tuple[int, ...]:
        """The seeds at which at least one row has figures."""
        missing = {seed: {one.row for one in self.incomplete if one.seed == seed} for seed in self.seeds}
        return tuple(seed for seed in self.seeds if len(missing[seed]) < len(self.rows))

    @property
    def methods(self) -> tuple[ModelRow, ...]:
        """The rows of unlearned models, in the order of the document."""
        return tuple(row for row in self.rows if row.role == "method")

    @property
    def columns(self) -> tuple[MetricSection, ...]:
        """The metrics that at least one model has: a column that nobody fills is absent."""
        return tuple(metric for metric in self.metrics if any(metric.key in row.scores for row in self.rows))

    def metric(self, key: str) -> MetricSection | None:
        """Return a metric by its key, None if the request does not have it."""
        return next((metric for metric in self.columns if metric.key == key), None)


class ResultDocument(DocumentModel):
    """All that a report says."""

    schema_: Literal[2] = Field(alias="schema")
    kind: Literal["demo", "run", "audit", "benchmark"] = "run"
    title: str
    created: str = ""
    command: str = ""
    versions: dict[str, Any] = Field(default_factory=dict)
    hardware: dict[str, Any] = Field(default_factory=dict)
    provenance: str = ""
    requests: tuple[RequestSection, ...] = Field(min_length=1)
    data_still_in: tuple[str, ...] = ()
    limitations: tuple[str, ...] = ()


def first_error(error: ValidationError, what: str) -> DataError:
    """Return the first thing that validation found as one sentence."""
    first = error.errors(include_url=False)[0]
    location = ".".join(str(part) for part in first["loc"]) or "the top level"
    message = first["msg"].removeprefix("Value error, ")
    return DataError(what, f"at {location}: {message}", "write the result again with this version of expunge")


def read_document(raw: Mapping[str, Any]) -> ResultDocument:
    """Return the document in ``raw``, checked.

    Args:
        raw: What ``result.json`` holds, parsed.

    Raises:
        DataError: If it has another schema, lacks something that a report needs, or has a text that cannot be written.

    Examples:
        >>> read_document({"schema": 7, "versions": {"expunge": "9.0"}})
        Traceback (most recent call last):
        expunge.errors.DataError: Expected a result document of schema 2, but found schema 7: read it with the version \
of expunge that wrote it (9.0).
    """
    if not isinstance(raw, Mapping):
        raise DataError(
            "a result document (a mapping)", f"a {type(raw).__name__}", "give the parsed content of result.json"
        )
    if raw.get("schema") != SCHEMA:
        raise _schema_error(raw)
    _check_texts(raw)
    try:
        return ResultDocument.model_validate(dict(raw))
    except ValidationError as error:
        raise first_error(error, f"a result document of schema {SCHEMA}") from None


def read_request(raw: Mapping[str, Any]) -> RequestSection:
    """Return one checked request, an element of a document's ``requests``."""
    try:
        return RequestSection.model_validate(raw)
    except ValidationError as error:
        raise first_error(error, f"a request of a result document of schema {SCHEMA}") from None


def _check_texts(value: Any) -> None:
    """Refuse texts that no file can be written with, wherever they are."""
    if isinstance(value, str) and not is_unicode(value):
        raise DataError("a result document whose texts can be written as UTF-8", f"'{value}'", "correct the text")
    for part in (*value.keys(), *value.values()) if isinstance(value, Mapping) else ():
        _check_texts(part)
    for part in value if isinstance(value, list | tuple) else ():
        _check_texts(part)


def _schema_error(raw: Mapping[str, Any]) -> DataError:
    versions = raw.get("versions")
    writer = versions.get("expunge") if isinstance(versions, Mapping) else None
    actual = f"schema {raw['schema']!r}" if "schema" in raw else "no schema"
    hint = "read it with the version of expunge that wrote it" + (f" ({writer})" if writer else "")
    return DataError(f"a result document of schema {SCHEMA}", actual, hint)
