"""The README's quick start runs as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import nn

from expunge.data import TensorExamples

README = Path(__file__).parents[1] / "README.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def examples(count: int, seed: int, labels: int = 4) -> TensorExamples:
    """Points around the corners of a square, a class each."""
    targets = torch.arange(count) % labels
    corners = 3 * torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    noise = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))
    return TensorExamples(corners[targets] + 0.5 * noise, targets)


def trained(data: TensorExamples) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    optimizer, batch = torch.optim.Adam(model.parameters(), 0.01), data.batch(torch.arange(len(data)))
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch.inputs), batch.targets).backward()
        optimizer.step()
    return model.eval()


def test_the_quick_start_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    whole = examples(400, 1)
    gone = whole.targets == 3
    sides = {
        "forget_set": TensorExamples(whole.inputs[gone], whole.targets[gone]),
        "retain_set": TensorExamples(whole.inputs[~gone], whole.targets[~gone]),
        "held_out_set": examples(1000, 2),
        "test_set": examples(200, 3),
    }
    names = {"model": trained(whole), **sides}
    first, second, *_ = blocks()
    assert "method=" not in first
    exec(first, names)
    assert names["result"].search_history is not None
    assert names["result"].budget.summary in capsys.readouterr().out
    assert (tmp_path / "run" / "unlearned.safetensors").is_file()
    assert (tmp_path / "run" / "report.html").is_file()
    exec(second, names)
    assert type(names["result"].method).__name__ == "EUPMU"
