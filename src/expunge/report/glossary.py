"""What every word and column of a report means."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.report.document import Document, Metric


@dataclass(frozen=True)
class Term:
    """A word with its meaning; ``key`` is the metric's, empty for words that are no column."""

    key: str
    name: str
    meaning: str
    aim: str


AIMS = {
    "match": "Aim: the value of the retrained model, not an extreme.",
    "higher": "Aim: higher.",
    "lower": "Aim: lower.",
}

WORDS = (
    Term(
        "",
        "Original",
        "The model before unlearning; it was trained on everything, the forgotten examples included.",
        "",
    ),
    Term(
        "",
        "Retrained",
        "A model trained from scratch without the forgotten examples; what unlearning tries to match.",
        "",
    ),
    Term("", "Noise floor", "The mean average gap between pairs of retrained models on the same split.", ""),
    Term("", "±", "Half the width of a 95 % t-interval over the seeds.", ""),
    Term(
        "", "Cosine", "Of the angle between the gradients of forget and retain loss: below 0 they are in conflict.", ""
    ),
    Term("", "Multiplier", "The weight that a surgery gave to the retain gradient to hold its tolerance.", ""),
    Term("", "Share removed", "The part of the forget gradient's length that a surgery took away in an update.", ""),
)


def glossary(document: Document) -> tuple[Term, ...]:
    """Return the definitions of all columns of all requests, each once, then the words that are no column."""
    metrics: dict[str, Metric] = {}
    for request in document.requests:
        for metric in request.columns:
            metrics.setdefault(metric.key, metric)
    return tuple(_term(metric) for metric in metrics.values()) + WORDS


def _term(metric: Metric) -> Term:
    return Term(metric.key, metric.label, metric.definition, AIMS[metric.direction])
