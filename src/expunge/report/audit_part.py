"""The part of a result document about somebody else's unlearning: certificate, attacks, and which weights moved."""

from __future__ import annotations

from pydantic import Field

from expunge.report.budget_part import Certificate
from expunge.report.part import Number, Part


class Recall(Part):
    """Share of forget examples found at a false positive rate, with its interval."""

    fpr: float
    tpr: float
    low: float
    high: float


class Attack(Part):
    """One score's area under the ROC curve with its interval, and recalls where there are enough examples."""

    score: str
    auc: float
    low: float
    high: float
    distance: Number = None
    recalls: tuple[Recall, ...] = ()


class Attacked(Part):
    """The attacks on one model."""

    model: str
    attacks: tuple[Attack, ...]


class Layer(Part):
    """How far one module is from what it was in the original."""

    name: str
    numbers: int = Field(ge=0)
    changed: int = Field(ge=0)
    relative: Number = None
    largest: Number = None


class AuditPart(Part):
    """What an audit shows beside the table."""

    certificate: Certificate
    attacked: tuple[Attacked, ...] = ()
    layers: tuple[Layer, ...] = ()
