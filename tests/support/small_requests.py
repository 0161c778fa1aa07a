"""Small requests on scikit-learn's digits, a user's own model and data, and looks at both before and after."""

import hashlib
import json
from pathlib import Path

import torch
from torch import nn
from written_requests import write_lines

from expunge.data import TensorExamples
from expunge.request.config import load_request

MODEL = "{name: small_cnn, options: {width: 4}}"
DATA = "{name: digits, subset: 120, options: {test_share: 0.1}}"
METHOD = "{name: rl, epochs: 1, lr: 0.01, batch_size: 32}"
LINES = {
    "model": MODEL,
    "checkpoint": "original.safetensors",
    "data": DATA,
    "forget": "{class: 3}",
    "method": METHOD,
    "threads": "1",
    "out": "run",
}
HELD_OUT = {
    "model": MODEL,
    "data": "{name: digits, subset: 300, options: {test_share: 0.6}}",
    "holdout": "0.6",
    "method": None,
}
"""Changes that make the request one with enough held-out digits for a budget, and leave the method to ``auto``."""
OWN = '''
"""A user's own model, data and predicate."""
import torch
from torch import nn
from torch.utils.data import IterableDataset, TensorDataset


class Output:
    def __init__(self, logits):
        self.logits = logits


class Net(nn.Module):
    def __init__(self, classes, scale=1.0):
        super().__init__()
        self.fc, self.scale = nn.Linear(6, classes), scale

    def forward(self, inputs):
        return Output(self.scale * self.fc(inputs))


def net(classes=3, scale=1.0):
    torch.manual_seed(5)
    return Net(classes, scale)


def frozen():
    return net().requires_grad_(False)


def pictures():
    return nn.Conv2d(3, 4, 3)


def probabilities():
    return nn.Sequential(nn.Linear(6, 3), nn.Softmax(1))


def complex_state():
    model = net()
    model.register_buffer("phase", torch.zeros(2, dtype=torch.complex64))
    return model


def data(broken=None):
    inputs = torch.randn(90, 6, generator=torch.Generator().manual_seed(2))
    if broken is not None:
        inputs[broken] = float("nan")
    targets = torch.arange(90) % 3
    return TensorDataset(inputs[:60], targets[:60]), TensorDataset(inputs[60:], targets[60:])


def named():
    train, test = data()
    return {"train": train, "test": test, "class_names": ["ant", "bee", "cat"]}


def too_few_names():
    return {**named(), "class_names": ["ant", "bee"]}


class Stream(IterableDataset):
    def __iter__(self):
        yield torch.zeros(6), 0


def stream():
    return Stream(), Stream()


def nothing():
    return None


def failing():
    return {"a": 1}["b"]


def empty_test():
    train, test = data()
    return train, TensorDataset(test.tensors[0][:0], test.tensors[1][:0])


def every(index, inputs, label):
    return True


def few(index, inputs, label):
    return label == 1 and index < 20


def unsure(index, inputs, label):
    return "perhaps"
'''


def write_request(folder: Path, **changes: str | None) -> Path:
    """Write the good request with other values, each key on a line of its own; None leaves a key out."""
    return write_lines(folder, LINES, **changes)


def config(folder: Path, **changes: str | None):
    """The same, read."""
    return load_request(write_request(folder, **changes))


def own(**changes: str | None) -> dict[str, str | None]:
    """Changes that make the request one about the user's own model and data."""
    return {"model": "mine:net", "checkpoint": None, "data": "{factory: mine:data}", "forget": "{class: 1}"} | changes


def written(folder: Path) -> dict[str, str]:
    """Every file below a folder, by its hash."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def result_of(folder: Path) -> dict:
    """The result document of a run folder."""
    return json.loads((folder / "result.json").read_text())


def history_of(folder: Path) -> list[dict]:
    """The rows of a run folder's history."""
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


class Classifier(nn.Module):
    """A network with everything that unlearning must leave alone: statistics, dropout, a frozen part, old gradients."""

    def __init__(self, as_dict: bool = False) -> None:
        super().__init__()
        self.first, self.norm, self.drop = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3)
        self.head, self.as_dict = nn.Linear(8, 3), as_dict
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x):
        logits = self.head(self.drop(self.norm(self.first(x)).relu()))
        return {"scores": logits} if self.as_dict else logits


def classifier(**options) -> nn.Module:
    """The network, its parts in different modes, with gradients of its own and one frozen weight."""
    torch.manual_seed(3)
    model = Classifier(**options).train()
    model.norm.running_mean.normal_()
    model.drop.eval()
    model.first.bias.requires_grad_(False)
    model.head.weight.grad = torch.ones_like(model.head.weight)
    return model


def sides(count: int = 60, forget: int = 12) -> tuple[TensorExamples, TensorExamples]:
    """Examples to forget and to retain."""
    inputs = torch.randn(count, 6, generator=torch.Generator().manual_seed(1))
    targets = torch.arange(count) % 3
    return TensorExamples(inputs[:forget], targets[:forget]), TensorExamples(inputs[forget:], targets[forget:])


def everything(model: nn.Module) -> dict[str, object]:
    """All of a model that a user could miss, by value and by identity."""
    return {
        "weights": {name: (id(p), p.detach().clone(), p.requires_grad) for name, p in model.named_parameters()},
        "gradients": {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()},
        "buffers": {name: (id(b), b.clone()) for name, b in model.named_buffers()},
        "modes": {name: module.training for name, module in model.named_modules()},
    }


def assert_same(before: object, after: object) -> None:
    """Compare two looks at a model, to the bit."""
    assert type(before) is type(after)
    if isinstance(before, torch.Tensor):
        assert torch.equal(before, after)
    elif isinstance(before, dict):
        assert before.keys() == after.keys()
        for key, value in before.items():
            assert_same(value, after[key])
    elif isinstance(before, tuple):
        for one, other in zip(before, after, strict=True):
            assert_same(one, other)
    else:
        assert before == after
