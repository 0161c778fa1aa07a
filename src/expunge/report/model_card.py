"""A model card for the unlearned model, in the form that hosting sites read: YAML between rules, then Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from expunge.errors import ConfigError
from expunge.formatting import format_count
from expunge.report.document import ModelRow, RequestSection, ResultDocument, read_document
from expunge.report.earlier_requests_text import describe_returned
from expunge.report.generative_text import is_generative
from expunge.report.glossary import glossary
from expunge.report.markdown import escape, figures_table, list_definitions, list_limits
from expunge.report.ranking import best_method
from expunge.report.summary import describe_forgetting, describe_uncertainty, describe_utility, describe_verdict

KIND_DESCRIPTIONS = {
    "class": "all examples of a class",
    "fraction": "a random share of the examples",
    "indices": "chosen examples",
    "ids": "all examples of some ids",
    "predicate": "the examples that a rule picked",
    "concept": "a concept",
}
"""What was asked, without the names in it: a card is published."""
PLACEHOLDER_LINES = (
    "# base_model: NAME-OF-THE-ORIGINAL   (leave it out if the original must not be found)",
    "# license: THE-LICENSE-OF-THE-ORIGINAL",
)
"""What only the owner knows, as comments in the metadata."""


def render_model_card(document: Mapping[str, Any]) -> str:
    """Return the model card of an unlearned model, for the file ``README.md`` beside its weights.

    The metadata are those of Hugging Face's model cards (``tags``, ``model-index`` with every figure); other hosts show
    them as text. Neither the question, nor class names, nor pictures are in it: they may name what was to be forgotten.
    """
    checked = read_document(document)
    request, row = select_only_model(checked)
    front_matter = yaml.safe_dump(build_metadata(request, row), sort_keys=False, allow_unicode=True, width=1000)
    return (
        "\n".join(
            ["---", front_matter.strip(), *PLACEHOLDER_LINES, "---", "", *_body_lines(checked, request, row)]
        ).rstrip()
        + "\n"
    )


def select_only_model(document: ResultDocument) -> tuple[RequestSection, ModelRow]:
    """Return the one request of a document and its one unlearned model."""
    models = sum(len(request.methods) for request in document.requests)
    row = best_method(document.requests[0])
    if models != 1 or row is None:
        hint = "give the result of a run that answers one request by one method"
        raise ConfigError("the result of one unlearned model", f"{models} of them", hint)
    return next(request for request in document.requests if request.methods), row


def build_metadata(request: RequestSection, row: ModelRow) -> dict[str, Any]:
    """Return the metadata of a card as plain values."""
    task = "unconditional-image-generation" if is_generative(request) else "other"
    values = [(metric, row.mean(metric.key)) for metric in request.columns]
    figures = [
        {"type": metric.key, "name": _strip_markup(f"{metric.label} ({metric.unit})" if metric.unit else metric.label)}
        | {"value": value}
        for metric, value in values
        if value is not None
    ]
    result = {
        "task": {"type": task, "name": "Machine unlearning"},
        "dataset": {"type": "forget-request", "name": f"A request to forget {KIND_DESCRIPTIONS[request.kind]}"},
        "metrics": figures,
    }
    return {
        "tags": ["machine-unlearning", "approximate-unlearning", "expunge"],
        "model-index": [{"name": f"Unlearned by {_strip_markup(row.label)}", "results": [result]}],
    }


def _strip_markup(text: str) -> str:
    """Return text without the signs of HTML and of links: a site may show the metadata as they are."""
    return text.translate({ord("<"): None, ord(">"): None, ord("["): "(", ord("]"): ")"})


def _body_lines(document: ResultDocument, request: RequestSection, row: ModelRow) -> list[str]:
    expunge = document.versions.get("expunge")
    version = f" {escape(str(expunge))}" if expunge else ""
    spent = "" if request.budget is None else f" {escape(request.budget.summary)}"
    return [
        "# An unlearned model",
        "",
        f"From this model {KIND_DESCRIPTIONS[request.kind]} were unlearned: {_format_size(request)}. "
        f"The method was {escape(row.label)}, run by expunge{version}. It is *approximate* unlearning.",
        "",
        "## Was it forgotten",
        "",
        f"**{escape(describe_returned(request) + describe_verdict(request, row))}.** "
        f"{escape(describe_forgetting(request, row))}",
        "",
        "## What it cost",
        "",
        f"{escape(describe_utility(request, row))}{spent}",
        "",
        "## How sure this is",
        "",
        escape(describe_uncertainty(request, row)),
        "",
        "## Figures",
        "",
        *figures_table(request),
        "## What this does not show",
        "",
        *list_limits(),
        "## Definitions",
        "",
        *list_definitions(term for term in glossary(document) if term.key),
    ]


def _format_size(request: RequestSection) -> str:
    total = "" if request.sizes.train is None else f" of {format_count(request.sizes.train)}"
    return f"{format_count(request.sizes.forget)}{total}"
