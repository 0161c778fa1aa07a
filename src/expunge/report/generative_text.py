"""The first screen's words for a generative model, whose answers are images that a named classifier judged."""

from __future__ import annotations

from expunge.report.document import MetricSection, ModelRow, RequestSection
from expunge.report.numbers import format_metric

CLASSIFIED, NOT_CLASSIFIED = (
    "Judged by a classifier that looked at its images",
    "Pictures alone: no classifier looked at them",
)


def is_generative(request: RequestSection) -> bool:
    """Return whether the answers to a request are generated images."""
    return has_classifier(request) or bool(request.grids)


def has_classifier(request: RequestSection) -> bool:
    """Return whether a classifier looked at the images."""
    return request.metric("generated_ua") is not None


def describe_verdict(request: RequestSection) -> str:
    """Return the first screen's words in brief."""
    return CLASSIFIED if has_classifier(request) else NOT_CLASSIFIED


def describe_forgetting(request: RequestSection, row: ModelRow) -> str:
    """Return what the classifier still sees of the forgotten."""
    value = row.mean("generated_ua")
    if not has_classifier(request):
        return "No classifier looked at the images, so there is no figure: see the pictures, all from the same noise."
    if value is None:
        return f"{row.label} has no finite UA."
    others = describe_references(request, "generated_ua", " %")
    text = [f"Of the images asked for what was forgotten, {format_metric(100 - value)} % are still taken for it: "]
    text.append(f"{row.label} has a UA of {format_metric(value)} %{others}.")
    low = row.mean("generated_ua_low")
    if low is not None:
        text.append(f" As few images as there are leave a UA of {format_metric(low)} % possible.")
    entropy = row.mean("generated_entropy")
    if entropy is not None:
        others = describe_references(request, "generated_entropy", " nats")
        text.append(f" On those images the classifier's entropy is {format_metric(entropy, 'nats')} nats{others}.")
    return "".join(text)


def describe_retained(request: RequestSection, row: ModelRow) -> str:
    """Return what became of the images of the remaining classes."""
    sentences = []
    value = row.mean("generated_accuracy")
    if value is not None:
        others = describe_references(request, "generated_accuracy", " %")
        sentences.append(
            f"Of the images asked for other classes, {format_metric(value)} % are taken for theirs{others}."
        )
    sentences += [
        describe_distance(request, row, metric) for metric in request.columns if metric.key.endswith("_fid_real")
    ]
    return " ".join(part for part in sentences if part) or "No image of another class was judged."


def describe_distance(request: RequestSection, row: ModelRow, metric: MetricSection) -> str:
    """Return a Fréchet distance in words, under its own name; empty where the model has none."""
    value = row.mean(metric.key)
    if value is None:
        return ""
    name = metric.label.split(",")[0]
    return f"Their {name} to real images is {format_metric(value, '')}{describe_references(request, metric.key, '')}."


def describe_references(request: RequestSection, key: str, unit: str) -> str:
    """Return the figures of original and retrained model in brackets; empty where there are none."""
    rows = (("the original", request.row("original")), ("the retrained model", request.row("retrained")))
    means = [(name, row.mean(key)) for name, row in rows if row is not None]
    texts = [f"{name} {format_metric(value, unit.strip())}{unit}" for name, value in means if value is not None]
    return f" ({', '.join(texts)})" if texts else ""
