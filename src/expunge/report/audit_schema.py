"""The part of a result document about somebody else's unlearning: certificate, attacks, and which weights moved."""

from __future__ import annotations

from pydantic import Field

from expunge.report.budget_schema import CertificateSection
from expunge.report.schema_base import DocumentModel, Number


class RecallSection(DocumentModel):
    """Share of forget examples found at a false positive rate, with its interval."""

    fpr: float
    tpr: float
    low: float
    high: float


class AttackSection(DocumentModel):
    """One score's area under the ROC curve with its interval, and recalls where there are enough examples."""

    score: str
    auc: float
    low: float
    high: float
    distance: Number = None
    recalls: tuple[RecallSection, ...] = ()


class ModelAttacksSection(DocumentModel):
    model: str
    attacks: tuple[AttackSection, ...]


class LayerSection(DocumentModel):
    """How far one module is from what it was in the original."""

    name: str
    numbers: int = Field(ge=0)
    changed: int = Field(ge=0)
    relative: Number = None
    largest: Number = None


class AuditSection(DocumentModel):
    """What an audit shows beside the table."""

    certificate: CertificateSection
    attacked: tuple[ModelAttacksSection, ...] = ()
    layers: tuple[LayerSection, ...] = ()
