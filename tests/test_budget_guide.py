"""The code of the guide on budgets runs from top to bottom, and says what the guide says it says."""

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "guides" / "budget.md"
TEXT = GUIDE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def ran():
    """What the code has defined, and what it printed."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra 'data')")
    printed, names = io.StringIO(), {"__name__": "guide"}
    with contextlib.redirect_stdout(printed):
        for block in BLOCKS:
            exec(compile(block, "budget.md", "exec"), names)
    return names, printed.getvalue()


def test_the_budget_is_kept_and_the_class_is_gone(ran):
    names, printed = ran
    assert "The budget of 3 points was kept, and the request was met" in printed
    batch = names["forget"].batch(torch.arange(len(names["forget"])))
    assert (names["result"].model(batch.inputs).argmax(1) == 3).float().mean() <= 0.005


def test_the_model_that_was_handed_in_still_knows_the_class(ran):
    names, _ = ran
    batch = names["forget"].batch(torch.arange(len(names["forget"])))
    assert (names["model"].eval()(batch.inputs).argmax(1) == 3).float().mean() > 0.9


def test_more_examples_certify_less(ran):
    found = [float(text) for text in re.findall(r"certify a drop of ([\d.]+)", ran[1])]
    assert found == sorted(found, reverse=True)
    assert len(found) == 4


def test_it_shows_the_frontier(ran):
    assert re.search(r"after update \d+: spent -?[\d.]+ points, [\d.]+ % missing", ran[1])


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", TEXT))))
def test_its_links_lead_somewhere(target):
    assert (GUIDE.parent / target).exists()
