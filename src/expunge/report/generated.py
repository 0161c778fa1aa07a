"""The first screen's words for a generative model, whose answers are images that a named classifier judged."""

from __future__ import annotations

from expunge.report.document import Metric, Request, Row
from expunge.report.numbers import write

JUDGED, UNJUDGED = "Judged by a classifier that looked at its images", "Pictures alone: no classifier looked at them"


def is_generated(request: Request) -> bool:
    """Return whether the answers to a request are generated images."""
    return is_judged(request) or bool(request.grids)


def is_judged(request: Request) -> bool:
    """Return whether a classifier looked at the images."""
    return request.metric("generated_ua") is not None


def verdict(request: Request) -> str:
    """Return the first screen's words in brief."""
    return JUDGED if is_judged(request) else UNJUDGED


def forgotten(request: Request, row: Row) -> str:
    """Return what the classifier still sees of the forgotten."""
    value = row.mean("generated_ua")
    if not is_judged(request):
        return "No classifier looked at the images, so there is no figure: see the pictures, all from the same noise."
    if value is None:
        return f"{row.label} has no finite UA."
    others = compared(request, "generated_ua", " %")
    text = [f"Of the images asked for what was forgotten, {write(100 - value)} % are still taken for it: "]
    text.append(f"{row.label} has a UA of {write(value)} %{others}.")
    low = row.mean("generated_ua_low")
    if low is not None:
        text.append(f" As few images as there are leave a UA of {write(low)} % possible.")
    unsure = row.mean("generated_entropy")
    if unsure is not None:
        others = compared(request, "generated_entropy", " nats")
        text.append(f" On those images the classifier's entropy is {write(unsure, 'nats')} nats{others}.")
    return "".join(text)


def kept(request: Request, row: Row) -> str:
    """Return what became of the images of the remaining classes."""
    found = []
    value = row.mean("generated_accuracy")
    if value is not None:
        others = compared(request, "generated_accuracy", " %")
        found.append(f"Of the images asked for other classes, {write(value)} % are taken for theirs{others}.")
    found += [distance(request, row, metric) for metric in request.columns if metric.key.endswith("_fid_real")]
    return " ".join(part for part in found if part) or "No image of another class was judged."


def distance(request: Request, row: Row, metric: Metric) -> str:
    """Return a Fréchet distance in words, under its own name; empty where the model has none."""
    value = row.mean(metric.key)
    if value is None:
        return ""
    name = metric.label.split(",")[0]
    return f"Their {name} to real images is {write(value, '')}{compared(request, metric.key, '')}."


def compared(request: Request, key: str, unit: str) -> str:
    """Return the figures of original and retrained model in brackets; empty where there are none."""
    rows = (("the original", request.row("original")), ("the retrained model", request.row("retrained")))
    told = [(name, row.mean(key)) for name, row in rows if row is not None]
    said = [f"{name} {write(value, unit.strip())}{unit}" for name, value in told if value is not None]
    return f" ({', '.join(said)})" if said else ""
