"""The cells of the tutorials run from top to bottom, and show what their words say."""

import contextlib
import io
import json
import re
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "docs" / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells(path, kind="code"):
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def run(name):
    """What the cells define, and what they print."""
    printed, names = io.StringIO(), {"__name__": "tutorial"}
    with contextlib.redirect_stdout(printed):
        for number, cell in enumerate(cells(FOLDER / f"{name}.ipynb")):
            exec(compile(cell, f"{name}.ipynb cell {number}", "exec"), names)
    return names, printed.getvalue()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_what_a_run_left(path):
    content = json.loads(path.read_text())
    assert content["nbformat"] == 4
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert cells(path, "markdown")[0].startswith("# ")
    assert len({cell["id"] for cell in content["cells"]}) == len(content["cells"])


@pytest.mark.slow
def test_classes_and_examples():
    names, printed = run("classes-and-examples")
    assert names["classwise"].budget.within_budget
    assert names["classwise"].budget.target_met
    assert names["single"].budget.summary in printed
    forget = names["forget"].batch(torch.arange(len(names["forget"])))
    assert (names["classwise"].model(forget.inputs).argmax(1) == 3).float().mean() <= 0.005
    assert (names["model"].eval()(forget.inputs).argmax(1) == 3).float().mean() > 0.9
    single = names["single"].budget
    assert single.within_budget
    assert all(look.shortfall >= 0 for look in single.evaluations)
    assert (names["folder"] / "report.html").stat().st_size > 10_000
    assert (names["folder"] / "run" / "unlearned.safetensors").exists()


@pytest.mark.slow
def test_own_method():
    names, printed = run("own-method")
    figures = names["figures"]
    assert len(re.findall(r"errors on forgotten", printed)) == 2
    assert figures["balanced"]["ua"] > 50, "a class that is forgotten is mostly not recognized"
    assert figures["balanced"]["ra"] > 90
