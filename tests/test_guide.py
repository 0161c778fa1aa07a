"""The guide's code prints what the guide says it prints, and its tables name everything that is registered."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from expunge import registry
from expunge.engine import TrainStage
from expunge.methods import build_method
from expunge.surgery import MGDA, AlignedMTL, PCGrad, UPGrad

GUIDE = Path(__file__).parents[1] / "docs" / "guides" / "one-problem-all-methods.md"
TEXT = GUIDE.read_text(encoding="utf-8")
NEED_SOLVERS = {"cagrad", "nash_mtl"}
SENSITIVE = {"eupmu_official", "eupmu_fast"}


def table(head):
    """The rows of the table that begins with this column, by the name in their first cell."""
    lines = TEXT[TEXT.index(f"| {head} |") :].split("\n\n", 1)[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0].strip("`"): row for row in rows}


def named(cell):
    return set(re.findall(r"`(\w+)`", cell))


def names(kind):
    return {entry.target: name for name, entry in registry.list_entries(kind, "classification").items()}


def figures(text):
    """The printed table: its head, and the figures of each row."""
    head, *lines = text.strip("\n").splitlines()
    rows = {line[:24].strip(): [float(cell) for cell in line[24:].split()] for line in lines}
    return head, rows


def test_the_code_prints_what_the_guide_shows():
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (shown,) = re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(GUIDE), "exec"), {"__name__": "guide"})
    (head, found), (expected_head, expected) = figures(printed.getvalue()), figures(shown)
    assert head == expected_head
    assert set(expected) - set(found) <= NEED_SOLVERS
    assert set(found) - set(expected) == set()
    assert {*registry.list_entries("surgeries")} <= set(expected)
    for name, row in found.items():
        tolerance = 0.05 if name in SENSITIVE else 0.006
        np.testing.assert_allclose(row, expected[name], rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize(("kind", "head"), [("methods", "method"), ("surgeries", "surgery")])
def test_every_registered_name_has_a_line(kind, head):
    assert set(table(head)) == set(registry.list_entries(kind, "classification"))


def test_every_mask_is_named():
    assert set(registry.list_entries("masks")) <= named(TEXT)


@pytest.mark.parametrize("name", registry.list_entries("methods", "classification"))
def test_a_methods_line_agrees_with_its_recipe(name):
    row = table("method")[name]
    stages = [stage for stage in build_method(name).recipe().stages if isinstance(stage, TrainStage)]
    objectives, surgeries, masks = names("objectives"), names("surgeries"), names("masks")
    forget = {objectives.get(type(stage.objectives.forget)) for stage in stages if stage.pairing != "retain"} - {None}
    retain = {objectives[type(stage.objectives.retain)] for stage in stages if stage.pairing != "forget"}
    assert (named(row[1]), named(row[2])) == (forget, retain)
    assert {surgeries[type(stage.surgery)] for stage in stages} <= named(row[3])
    assert {masks[type(stage.mask)] for stage in stages if stage.mask is not None} == named(row[4])


def least(gram):
    return min(0.0, gram[0, 1])


def pcgrad(gram):
    return (1 - least(gram) / gram[1, 1]) / (1 - least(gram) / gram[0, 0])


def mgda(gram):
    (a, c), (_, b) = gram
    return 0.0 if c >= a else np.inf if c >= b else (a - c) / (b - c)


def aligned(gram):
    (a, c), (_, b) = gram
    s = np.sqrt(a * b - c * c)
    return (a + s - c) / (b + s - c)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("make", "closed", "tolerance"),
    [(PCGrad, pcgrad, 1e-9), (UPGrad, pcgrad, 3e-3), (MGDA, mgda, 1e-6), (AlignedMTL, aligned, 1e-9)],
)
def test_multipliers_of_symmetric_rules_are_those_of_the_table(make, closed, tolerance, seed):
    rows = np.random.default_rng(seed).normal(size=(2, 4)) * np.array([[1.0], [1.5]])
    gram = rows @ rows.T
    weights = make().weights(torch.tensor(gram)).numpy()
    np.testing.assert_allclose(weights[1], closed(gram) * weights[0], rtol=tolerance, atol=tolerance)
