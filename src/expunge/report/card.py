"""A model card for the unlearned model, in the form that hosting sites read: YAML between rules, then Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from expunge.errors import ConfigError
from expunge.formatting import format_count
from expunge.report.document import Document, Request, Row, read_document
from expunge.report.earlier_words import headline
from expunge.report.generated import is_generated
from expunge.report.glossary import glossary
from expunge.report.headline import leader
from expunge.report.markdown import definitions, escape, figures_table, limits
from expunge.report.words import forgotten, sureness, utility, verdict

KINDS = {
    "class": "all examples of a class",
    "fraction": "a random share of the examples",
    "indices": "chosen examples",
    "ids": "all examples of some ids",
    "predicate": "the examples that a rule picked",
    "concept": "a concept",
}
"""What was asked, without the names in it: a card is published."""
LATER = (
    "# base_model: NAME-OF-THE-ORIGINAL   (leave it out if the original must not be found)",
    "# license: THE-LICENSE-OF-THE-ORIGINAL",
)
"""What only the owner knows, as comments in the metadata."""


def model_card(document: Mapping[str, Any]) -> str:
    """Return the model card of an unlearned model, for the file ``README.md`` beside its weights.

    The metadata are those of Hugging Face's model cards (``tags``, ``model-index`` with every figure); other hosts show
    them as text. Neither the question, nor class names, nor pictures are in it: they may name what was to be forgotten.

    Args:
        document: The result document (schema 1) of one model: one request, answered by one method.

    Raises:
        DataError: If the document has another schema or lacks something.
        ConfigError: If it is about several models.
    """
    checked = read_document(document)
    request, row = only(checked)
    front = yaml.safe_dump(metadata(request, row), sort_keys=False, allow_unicode=True, width=1000)
    return "\n".join(["---", front.strip(), *LATER, "---", "", *_text(checked, request, row)]).rstrip() + "\n"


def only(document: Document) -> tuple[Request, Row]:
    """Return the one request of a document and its one unlearned model.

    Raises:
        ConfigError: If there are others.
    """
    models = sum(len(request.methods) for request in document.requests)
    row = leader(document.requests[0])
    if models != 1 or row is None:
        cure = "give the result of a run that answers one request by one method"
        raise ConfigError("the result of one unlearned model", f"{models} of them", cure)
    return next(request for request in document.requests if request.methods), row


def metadata(request: Request, row: Row) -> dict[str, Any]:
    """Return the metadata of a card as plain values."""
    task = "unconditional-image-generation" if is_generated(request) else "other"
    known = [(metric, row.mean(metric.key)) for metric in request.columns]
    figures = [
        {"type": metric.key, "name": _unmarked(f"{metric.label} ({metric.unit})" if metric.unit else metric.label)}
        | {"value": value}
        for metric, value in known
        if value is not None
    ]
    result = {
        "task": {"type": task, "name": "Machine unlearning"},
        "dataset": {"type": "forget-request", "name": f"A request to forget {KINDS[request.kind]}"},
        "metrics": figures,
    }
    return {
        "tags": ["machine-unlearning", "approximate-unlearning", "expunge"],
        "model-index": [{"name": f"Unlearned by {_unmarked(row.label)}", "results": [result]}],
    }


def _unmarked(text: str) -> str:
    """Return text without the signs of HTML and of links: a site may show the metadata as they are."""
    return text.translate({ord("<"): None, ord(">"): None, ord("["): "(", ord("]"): ")"})


def _text(document: Document, request: Request, row: Row) -> list[str]:
    expunge = document.versions.get("expunge")
    version = f" {escape(str(expunge))}" if expunge else ""
    spent = "" if request.budget is None else f" {escape(request.budget.sentence)}"
    return [
        "# An unlearned model",
        "",
        f"From this model {KINDS[request.kind]} were unlearned: {_many(request)}. The method was {escape(row.label)}, "
        f"run by expunge{version}. It is *approximate* unlearning.",
        "",
        "## Was it forgotten",
        "",
        f"**{escape(headline(request) + verdict(request, row))}.** {escape(forgotten(request, row))}",
        "",
        "## What it cost",
        "",
        f"{escape(utility(request, row))}{spent}",
        "",
        "## How sure this is",
        "",
        escape(sureness(request, row)),
        "",
        "## Figures",
        "",
        *figures_table(request),
        "## What this does not show",
        "",
        *limits(),
        "## Definitions",
        "",
        *definitions(term for term in glossary(document) if term.key),
    ]


def _many(request: Request) -> str:
    whole = "" if request.sizes.train is None else f" of {format_count(request.sizes.train)}"
    return f"{format_count(request.sizes.forget)}{whole}"
