"""What the user's own code raises in a run stays the user's: the same error, the model as it was, nothing recorded."""

import pytest
import torch
from torch import nn

import expunge
from expunge.data import TensorExamples
from expunge.engine import CheckpointManager, SaveInterval
from expunge.errors import DataError
from expunge.key import load_or_create_key
from expunge.ledger import Ledger

INPUTS = torch.randn(240, 6, generator=torch.Generator().manual_seed(0))
LABELS = INPUTS[:, :3].argmax(1)


class OwnError(Exception):
    """Of the user's code."""


class Fuse:
    """Raises when it is touched for the nth time."""

    def __init__(self, after):
        self.left, self.error = after, OwnError("mine")

    def __call__(self, *_):
        self.left -= 1
        if self.left < 0:
            raise self.error


class Network(nn.Module):
    def __init__(self, fuse):
        super().__init__()
        self.layer, self.norm, self.fuse = nn.Linear(6, 3), nn.BatchNorm1d(3), fuse

    def forward(self, inputs):
        self.fuse()
        return self.norm(self.layer(inputs))


class Rows(torch.utils.data.Dataset):
    def __init__(self, first, last, fuse):
        self.positions, self.fuse = range(first, last), fuse

    def __len__(self):
        return len(self.positions)

    def __getitem__(self, at):
        self.fuse()
        return INPUTS[self.positions[at]], int(LABELS[self.positions[at]])


def never(*_):
    """Raise nothing."""


def callback_that_raises(name, fuse):
    return type("Own", (expunge.Callback,), {name: lambda self, argument: fuse(argument)})()


def part(first, last):
    return TensorExamples(INPUTS[first:last], LABELS[first:last])


def unlearn(folder, model, fuse, where, *, inplace=False):
    return expunge.unlearn(
        model,
        forget=part(0, 20),
        retain=Rows(20, 140, fuse if where == "dataset" else never),
        holdout=part(140, 240),
        method="auto",
        lr=0.01,
        epochs=2,
        batch_size=16,
        budget=expunge.Budget(accuracy_points=50, certify=False),
        callbacks=callback_that_raises(where, fuse) if where.startswith("on_") else (),
        ledger=folder / "ledger.sqlite",
        config=expunge.RunConfig(
            sanity_check=False,
            inplace=inplace,
            checkpoints=CheckpointManager(folder / "state", SaveInterval(steps=2)),
        ),
    )


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(
    ("where", "after"), [("on_step", 3), ("on_log", 0), ("on_evaluation", 1), ("on_end", 0), ("forward", 6)]
)
def test_an_error_of_the_users_own_code_comes_out_as_it_is(tmp_path, where, after, inplace):
    fuse = Fuse(after)
    torch.manual_seed(0)
    model = Network(fuse if where == "forward" else never)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(OwnError) as caught:
        unlearn(tmp_path, model, fuse, where, inplace=inplace)
    assert caught.value is fuse.error
    ledger = Ledger(tmp_path / "ledger.sqlite")
    if where == "on_end":  # the request was answered, and is recorded, before it is called
        assert len(ledger.entries()) == 1
        assert ledger.verify(load_or_create_key()).is_valid
    else:
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert ledger.entries() == []
    assert [file.name for file in tmp_path.rglob("*.tmp")] == []


@pytest.mark.parametrize("after", [1, 150, 500])
def test_an_error_of_the_users_data_set_is_the_cause_of_one_that_names_it(tmp_path, after):
    fuse, model = Fuse(after), Network(never)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(DataError, match=r"OwnError \(mine\)") as caught:
        unlearn(tmp_path, model, fuse, "dataset")
    assert caught.value.__cause__ is fuse.error
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert Ledger(tmp_path / "ledger.sqlite").entries() == []
