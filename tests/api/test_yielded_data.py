"""What a data set yields is what the model gets: bytes are scaled by nobody but the model or the user."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flat_calls import flat_unlearn
from torch import nn
from torch.utils.data import ConcatDataset, Subset, TensorDataset

import expunge
from expunge.errors import DataError, ModelError

LABELS = torch.arange(120) % 3
BYTES = (torch.arange(120)[:, None] * 7 % 60 + 60 * nn.functional.one_hot(LABELS, 3).repeat_interleave(4, 1)).byte()
BYTES[60:, 0] += 1  # no two rows are the same


class Scaling(nn.Module):
    """A network that divides bytes by 255 itself, right on every example, and notes what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(12, 3)
        self.seen: set[tuple[torch.dtype, bool]] = set()
        with torch.no_grad():
            self.head.weight.copy_(5 * torch.eye(3).repeat_interleave(4, 1))
            self.head.bias.zero_()

    def forward(self, inputs):
        self.seen.add((inputs.dtype, bool(inputs.max() > 1)))
        return self.head(inputs.float() / 255)


FORMS = {
    "TensorDataset": lambda low, high: TensorDataset(BYTES[low:high], LABELS[low:high]),
    "Subset": lambda low, high: Subset(TensorDataset(BYTES, LABELS), range(low, high)),
    "ConcatDataset": lambda low, high: ConcatDataset([Subset(TensorDataset(BYTES, LABELS), range(low, high))]),
    "tensors": lambda low, high: (BYTES[low:high], LABELS[low:high]),
    "arrays": lambda low, high: (BYTES[low:high].numpy(), LABELS[low:high].numpy()),
    "items": lambda low, high: [(BYTES[i], np.array([int(LABELS[i])])) for i in range(low, high)],
    "floats": lambda low, high: TensorDataset(BYTES[low:high].float(), LABELS[low:high]),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_model_that_scales_itself_is_right_in_every_form(form):
    model = Scaling()
    scores = expunge.evaluate(model, forget=form(0, 30), retain=form(30, 90), test=form(90, 120)).scores
    assert scores["ra"] == scores["ta"] == 100
    assert {large for _, large in model.seen} == {True}


def test_both_sides_of_one_call_reach_the_model_alike():
    model, whole = Scaling(), TensorDataset(BYTES, LABELS)
    retain = ConcatDataset([Subset(whole, range(30, 60)), Subset(whole, range(60, 120))])
    expunge.unlearn(
        model,
        forget=Subset(whole, range(30)),
        retain=retain,
        method="rl",
        epochs=1,
        config=expunge.RunConfig(inplace=True),
    )
    assert model.seen == {(torch.uint8, True)}


def test_bytes_for_a_model_of_floats_are_refused_with_the_cure():
    with pytest.raises(ModelError, match=r"convert the inputs from torch\.uint8 to torch\.float32"):
        expunge.unlearn(nn.Linear(12, 3), forget=FORMS["tensors"](0, 30), retain=FORMS["tensors"](30, 120), method="rl")


@pytest.mark.parametrize("part", ["retain", "holdout"])
def test_parts_of_two_kinds_are_refused(part):
    sides = {name: FORMS["tensors"](low, low + 30) for name, low in {"forget": 0, "retain": 30, "holdout": 60}.items()}
    sides[part] = (sides[part][0].float() / 255, sides[part][1])
    with pytest.raises(DataError, match=r"one kind in every part, but found torch\.uint8 and torch\.float32"):
        flat_unlearn(Scaling(), **sides, method="rl", epochs=1)


def test_a_test_set_of_another_kind_is_refused():
    scaled = TensorDataset(BYTES[90:].float() / 255, LABELS[90:])
    with pytest.raises(DataError, match="one kind"):
        expunge.evaluate(Scaling(), forget=FORMS["tensors"](0, 30), retain=FORMS["tensors"](30, 90), test=scaled)
