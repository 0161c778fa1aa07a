"""Figures of results, drawn by matplotlib: each function takes and returns an ``Axes``, and shows up in notebooks.

    from expunge import evaluate, plot, unlearn

    evaluation = evaluate(result, test=test)
    plot.tradeoff(evaluation).figure.savefig("tradeoff.pdf")

Where a function gets no ``ax``, it makes a figure of the size and look of the report. All of them take an
``Evaluation``, a ``Result``, or a result document: the parsed content of a ``result.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from expunge.errors import ConfigError, DataError
from expunge.report import read_document
from expunge.report.chart import Chart, get_plot_style
from expunge.report.document import RequestSection
from expunge.report.figures import build_budget_chart, build_class_chart, build_gap_chart, build_history_chart
from expunge.report.ranking import best_method
from expunge.report.tradeoff import build_pareto_chart, build_tradeoff_chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["budget", "gaps", "history", "pareto", "per_class", "tradeoff"]


class HasDocument(Protocol):
    """What figures are drawn of: an ``Evaluation`` or a ``Result``."""

    @property
    def document(self) -> dict[str, Any]:
        """The result document."""
        ...


Source = HasDocument | Mapping[str, Any]


def tradeoff(source: Source, ax: Axes | None = None, *, request: int = 0, close_up: bool = False) -> Axes:
    """Draw every model at its forgetting and its test accuracy, with intervals where there are several seeds.

    A class request has UA across, any other the distance of UA to the retrained model, where there is one.

    Args:
        source: An ``Evaluation``, or a result document.
        ax: Where to draw. Default: a new figure.
        request: Which request of a document with several. Default 0.
        close_up: Show only the models near the retrained one, where they crowd. Default false.

    Raises:
        DataError: If fewer than two models have both figures, or there is no crowd to be shown.

    Examples:
        >>> import matplotlib; matplotlib.use("agg")
        >>> scores = lambda ua, ta: {"ua": {"mean": ua}, "ta": {"mean": ta}}
        >>> rows = [{"key": "o", "label": "Original", "role": "original", "scores": scores(0.0, 98.0)},
        ...         {"key": "m", "label": "EU-PMU", "role": "method", "scores": scores(99.0, 97.0)}]
        >>> part = {"id": "r", "description": "Forget class 3", "kind": "class", "seeds": [0], "retrained": False,
        ...         "sizes": {"forget": 10}, "metrics": [{"key": "ua", "label": "UA"}], "rows": rows}
        >>> ax = tradeoff({"schema": 2, "title": "A run", "requests": [part]})
        >>> ax.get_ylabel(), [float(line.get_xdata()[0]) for line in ax.lines]
        ('TA, % (test accuracy)', [0.0, 99.0])
    """
    chart = build_tradeoff_chart(_get_request(source, request), close_up=close_up)
    expected = "a crowd of models near the retrained one" if close_up else "UA and TA of two models or more"
    return _show(chart, ax, expected, "pass what `evaluate(result, test=..., original=..., retrained=...)` returns")


def gaps(source: Source, ax: Axes | None = None, *, request: int = 0) -> Axes:
    """Draw the average gap of each method to the retrained model, with the noise floor as a band.

    Args:
        source: An ``Evaluation``, or a result document.
        ax: Where to draw. Default: a new figure.
        request: Which request of a document with several. Default 0.

    Raises:
        DataError: If no method has an average gap, as without a retrained model.
    """
    chart = build_gap_chart(_get_request(source, request))
    return _show(chart, ax, "an average gap to a retrained model", "pass `retrained=` to `evaluate`")


def per_class(source: Source, ax: Axes | None = None, *, request: int = 0) -> Axes:
    """Draw the test accuracy of each class before and after, and that of the retrained model.

    Of more than 24 classes those are drawn whose accuracy moved most.

    Args:
        source: An ``Evaluation``, or a result document.
        ax: Where to draw. Default: a new figure.
        request: Which request of a document with several. Default 0.

    Raises:
        DataError: If no method has accuracies per class.
    """
    chart = build_class_chart(_get_request(source, request))
    return _show(chart, ax, "test accuracies per class", "pass what `evaluate(result, test=...)` returns")


def history(
    source: Source,
    ax: Axes | None = None,
    *,
    quantity: Literal["losses", "cosine", "multiplier", "projected_fraction"] = "losses",
    method: str | None = None,
    request: int = 0,
) -> Axes:
    """Draw a quantity over the updates of a method.

    Args:
        source: A ``Result``, an ``Evaluation`` of one, or a result document.
        ax: Where to draw. Default: a new figure.
        quantity: ``losses`` (default), ``cosine`` of the two gradients, ``multiplier``, or the share of the forget
            gradient ``projected_fraction``.
        method: Key of the method's row in a document with several. Default: the one with the smallest gap.
        request: Which request of a document with several. Default 0.

    Raises:
        DataError: If the method has no such quantity.
        ConfigError: If there is no such method or quantity.
    """
    section = _get_request(source, request)
    _check_choice("quantity", quantity, ("losses", "cosine", "multiplier", "projected_fraction"))
    rows = {row.key: row for row in section.methods}
    if method is not None:
        _check_choice("method", method, tuple(rows))
    row = best_method(section) if method is None else rows[method]
    chart = None if row is None else build_history_chart(row, quantity)
    return _show(chart, ax, f"a history with {quantity}", "pass what `unlearn` returns, or name another quantity")


def budget(
    source: Source,
    ax: Axes | None = None,
    *,
    quantity: Literal["spent", "recognized", "auc"] = "spent",
    request: int = 0,
) -> Axes:
    """Draw what the control readings of a budget saw, the limit, and the reading that is handed over.

    Args:
        source: A ``Result`` with a budget, an ``Evaluation`` of one, or a result document.
        ax: Where to draw. Default: a new figure.
        quantity: What was ``spent`` (default), how much of a forgotten class is still ``recognized``, or the ``auc``
            of forgotten against held-out examples.
        request: Which request of a document with several. Default 0.

    Raises:
        DataError: If there was no budget, or no reading of it has the quantity.
        ConfigError: If there is no such quantity.
    """
    section = _get_request(source, request).budget
    _check_choice("quantity", quantity, ("spent", "recognized", "auc"))
    chart = None if section is None else build_budget_chart(section, quantity)
    return _show(chart, ax, f"a budget with readings of {quantity}", "pass `budget=` to `unlearn`")


def pareto(
    source: Mapping[str, Any], ax: Axes | None = None, *, utility: Literal["ta", "ra"] = "ta", request: int = 0
) -> Axes:
    """Draw a sweep: every point of every method at its forgetting and its utility, and the front of all of them.

    Args:
        source: The comparison that ``expunge sweep`` writes, parsed.
        ax: Where to draw. Default: a new figure.
        utility: ``ta`` (default), the accuracy on test examples, or ``ra``, that on retained ones.
        request: Which request of the comparison. Default 0.

    Raises:
        DataError: If this is no comparison.
        ConfigError: If there is no such request or utility.
    """
    _check_choice("utility", utility, ("ta", "ra"))
    if not isinstance(source, Mapping) or source.get("kind") != "compare":
        hint = "pass the parsed JSON that `expunge sweep` writes"
        raise DataError("the result of a sweep", type(source).__name__, hint)
    parts = source["requests"]
    _check_choice("request", request, range(len(parts)))
    return _show(build_pareto_chart(parts[request], utility), ax, "", "")


def _get_request(source: Source, number: int) -> RequestSection:
    document = source if isinstance(source, Mapping) else getattr(source, "document", None)
    if document is None:
        hint = "pass an Evaluation, a Result, or the parsed content of a result.json"
        raise DataError("a result with figures", f"a {type(source).__name__}", hint)
    requests = read_document(document).requests
    _check_choice("request", number, range(len(requests)))
    return requests[number]


def _check_choice(name: str, value: Any, choices: Any) -> None:
    if value not in choices:
        raise ConfigError(f"{name} to be one of {', '.join(map(str, choices))}", repr(value), "name one of them")


def _show(chart: Chart | None, ax: Axes | None, expected: str, hint: str) -> Axes:
    if chart is None:
        raise DataError(expected, "none", hint)
    if ax is None:
        from matplotlib import pyplot

        return chart.make_axes(pyplot.figure, chart.title)
    from matplotlib import rc_context

    with rc_context(get_plot_style()):
        chart.draw(ax)
    return ax
