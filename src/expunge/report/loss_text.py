"""The first screen's words for models that are measured by their loss and by columns of their task."""

from __future__ import annotations

from collections.abc import Iterator

from expunge.report.document import MetricSection, ModelRow, RequestSection
from expunge.report.generative_text import describe_references
from expunge.report.numbers import format_metric

COMPARED, NOT_COMPARED = "Compared with a retrained model", "Not compared with retraining"
KEPT_PARTS = ("test", "retain")


def is_measured_by_loss(request: RequestSection) -> bool:
    """Return whether the columns are those of a task whose answers are not right or wrong."""
    return request.metric("forget_loss") is not None


def describe_reference(request: RequestSection) -> str:
    """Return whether there is a retrained model, in brief."""
    return COMPARED if request.retrained else NOT_COMPARED


def describe_forgetting(request: RequestSection, row: ModelRow) -> str:
    """Return what a model still knows of the forgotten, beside the retrained model and the original."""
    columns = [metric for metric in request.columns if metric.key in ("recognized", "forget_loss", "output_gap")]
    sentences = [describe_column(request, row, metric) for metric in columns if row.mean(metric.key) is not None]
    return " ".join([*sentences, *([] if row.held_out is None else [row.held_out.sentence])])


def describe_column(request: RequestSection, row: ModelRow, metric: MetricSection) -> str:
    """Return the value of a column beside those of the references."""
    unit = f" {metric.unit}" if metric.unit else ""
    value = format_metric(row.mean(metric.key), metric.unit)
    label = metric.label.capitalize() if metric.label.islower() else metric.label
    return f"{label}: {value}{unit}{describe_references(request, metric.key, unit)}."


def describe_utility(request: RequestSection, row: ModelRow) -> str:
    """Return what became of test data and the data to keep, by the first column of the task and by the loss."""
    return " ".join(describe_column(request, row, metric) for metric in find_utility_columns(request, row))


def find_utility_columns(request: RequestSection, row: ModelRow) -> Iterator[MetricSection]:
    """Yield one column for each part that stays: the task's own where there is one, else the loss."""
    for part in KEPT_PARTS:
        known = [metric for metric in request.columns if row.mean(metric.key) is not None]
        own = [metric for metric in known if metric.key.endswith(f"_{part}")]
        yield from (own or [metric for metric in known if metric.key == f"{part}_loss"])[:1]
