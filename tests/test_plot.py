"""``expunge.plot`` draws what a result holds, on the reader's axes or on its own."""

from __future__ import annotations

import json
import subprocess
import sys

import matplotlib
import pytest
import torch
from matplotlib import pyplot
from torch import nn

import expunge
from expunge import Budget, evaluate, unlearn
from expunge.data import TensorExamples
from expunge.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def split():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 4, generator=generator)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    forget, retain, holdout, test = (
        TensorExamples(x[a:b], y[a:b]) for a, b in ((0, 20), (20, 200), (200, 300), (300, 400))
    )
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[:200]), y[:200]).backward()
        optimizer.step()
    return model.eval(), {"forget": forget, "retain": retain}, holdout, test


@pytest.fixture(scope="module")
def result(split):
    model, sides, holdout, _ = split
    settings = {"method": "random_labels_with_budget", "epochs": 3, "budget": Budget(accuracy_points=30.0)}
    return unlearn(model, **sides, holdout=holdout, **settings)


@pytest.fixture(scope="module")
def evaluation(split, result):
    model, _, _, test = split
    return evaluate(result, test=test, retrained=model)


@pytest.fixture(autouse=True)
def closed():
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


def places(ax):
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_gid()]


def test_the_trade_off_of_an_evaluation_is_its_scores(evaluation):
    ax = expunge.plot.tradeoff(evaluation)
    assert isinstance(ax, matplotlib.axes.Axes)
    assert [y for _, y in places(ax)][-1] == evaluation.scores["ta"]
    assert len(places(ax)) == 3
    assert pyplot.get_fignums(), "a notebook would not show the figure"


def test_a_history_is_that_of_the_result(result, evaluation):
    for source in (result, evaluation):
        forget, retain = (line for line in expunge.plot.history(source).lines if line.get_gid())
        assert list(forget.get_ydata()) == pytest.approx([row["forget_loss"] for row in result.history])
        assert list(retain.get_xdata()) == [row["step"] for row in result.history]


def test_a_budget_shows_every_control_reading(result):
    ax = expunge.plot.budget(result)
    steps = [one.step for one in result.budget.evaluations]
    assert [x for x, _ in places(ax)] == steps
    assert places(ax)[-1][1] == pytest.approx(result.budget.evaluations[-1].spent)
    assert any("allowed: 30 points" in text.get_text() for text in ax.texts)


@pytest.mark.parametrize("name", ["tradeoff", "gaps", "per_class", "history", "budget"])
def test_given_axes_are_drawn_on_and_returned(evaluation, name):
    figure, ax = pyplot.subplots()
    assert getattr(expunge.plot, name)(evaluation, ax=ax) is ax
    assert pyplot.get_fignums() == [figure.number]
    assert ax.lines


def test_a_document_is_as_good_as_its_evaluation(evaluation):
    document = json.loads(json.dumps(evaluation.document))
    assert places(expunge.plot.per_class(document)) == places(expunge.plot.per_class(evaluation))


def test_a_figure_is_saved_as_the_caller_likes(evaluation, tmp_path):
    figure = expunge.plot.tradeoff(evaluation).figure
    for suffix in ("svg", "png", "pdf"):
        figure.savefig(tmp_path / f"a.{suffix}")
        assert (tmp_path / f"a.{suffix}").stat().st_size > 1000


@pytest.mark.parametrize(
    ("draw", "error", "words"),
    [
        (lambda result: expunge.plot.tradeoff(result), DataError, "UA and TA of two models"),
        (lambda result: expunge.plot.gaps(result), DataError, "an average gap to a retrained model, but found none"),
        (lambda result: expunge.plot.history(result, quantity="speed"), ConfigError, "quantity to be one of losses"),
        (lambda result: expunge.plot.history(result, method="ga"), ConfigError, "method to be one of method"),
        (lambda result: expunge.plot.budget(result, request=3), ConfigError, "request to be one of 0"),
        (lambda result: expunge.plot.pareto(result), DataError, "the result of a sweep"),
        (lambda result: expunge.plot.tradeoff(7), DataError, "a result with figures, but found a int"),
    ],
)
def test_what_cannot_be_drawn_is_refused(result, draw, error, words):
    with pytest.raises(error, match=words):
        draw(result)


def test_a_result_prints_five_lines_and_an_evaluation_too(result, evaluation):
    heads = [line.split(": ")[0] for line in str(result).splitlines()]
    assert heads == ["Method", "Time", "Updates", "Budget", "Forgetting"]
    assert f"Updates: {len(result.history)};" in str(result)
    assert result.budget.summary in str(result)
    assert len(str(evaluation).splitlines()) == 5
    assert "Verdict: " in str(evaluation)
    assert len(repr(result)) < 100


def test_a_notebook_shows_words_table_and_figure_without_scripts(split, result):
    model, _, _, test = split
    hostile = "<script>alert(1)</script>"
    cell = evaluate(result, test=test, retrained=model, description=hostile)._repr_html_()
    assert "&lt;script&gt;" in cell
    assert "<script" not in cell
    assert cell.count("<svg") == 1
    assert "<th>UA (%)</th>" in cell
    assert "Losses" in result._repr_html_()
    ids = [cell.split('aria-labelledby="')[1].split('"')[0] for cell in (cell, result._repr_html_())]
    assert ids[0] != ids[1]


def test_unlearning_and_measuring_import_no_matplotlib():
    code = "import expunge as e, sys; e.unlearn, e.evaluate, e.plot.tradeoff; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
