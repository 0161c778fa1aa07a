"""Surgeries whose weights follow from counts and progress."""

import math

import pytest
import torch
from small_networks import batch, ce, flat, gradients, mlp, stepper

from expunge.errors import SurgeryError
from expunge.pair import Pair
from expunge.surgery import CosineForgetWeight, Progress, UnionMean
from expunge.testing import ToyStep, linear


@pytest.mark.parametrize(("forget", "retain"), [(5, 12), (12, 3), (0, 7), (6, 0)])
def test_pooled_descends_the_mean_loss_of_the_union(forget, retain):
    model, sides = mlp(), Pair(batch(1, forget), batch(2, retain))
    total = sum(len(side) * ce(model, side) for side in sides if len(side)) / (forget + retain)
    expected = flat(gradients(model, total))
    before = flat(model.parameters())
    plain = lambda parameters: torch.optim.SGD(parameters, lr=1.0)  # noqa: E731
    stepper(model, UnionMean(), plain)(*(side if len(side) else None for side in sides))
    torch.testing.assert_close(before - flat(model.parameters()), expected)


@pytest.mark.parametrize("step", [0, 3, 7])
def test_the_forget_weight_falls_along_half_a_cosine(step):
    toy = ToyStep([torch.zeros(2)], Pair(linear(torch.tensor([1.0, 0.0])), linear(torch.tensor([0.0, 1.0]))))
    toy.progress = Progress(step, 8, 0)
    surgery = CosineForgetWeight(4.0)
    surgery(toy)
    weight = 2.0 * (1 + math.cos(math.pi * step / 8))
    assert toy.decision.pieces[0].tolist() == pytest.approx([weight, 1.0])
    assert float(surgery.relative_weight()) == pytest.approx(1 / weight)


def test_a_weight_that_is_not_positive_is_refused():
    with pytest.raises(SurgeryError, match="weight > 0"):
        CosineForgetWeight(0.0)
