"""The contributor guide's example is a surgery that keeps every contract."""

import re
from pathlib import Path

import torch

from expunge.pair import Pair
from expunge.testing import ToyStep, check_surgery, linear

GUIDE = Path(__file__).parents[1] / "CONTRIBUTING.md"


def example():
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    return code


def test_the_example_is_short():
    assert len(example().splitlines()) <= 30


def test_the_example_keeps_every_contract(tmp_path, monkeypatch):
    (tmp_path / "balanced.py").write_text(example(), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    from balanced import Balanced

    check_surgery(Balanced)
    step = ToyStep([torch.zeros(2)], Pair(linear(torch.tensor([3.0, 0.0])), linear(torch.tensor([0.0, 0.1]))))
    Balanced(share=0.5)(step)
    torch.testing.assert_close(step.decision.pieces[0], torch.tensor([3.0, 1.5]))
