"""Masks guard the update: what the optimizer did, not what it was told."""

import pytest
import torch
from small_networks import adamw, batch, ce, flat, mlp, sgd, stepper, weights
from torch import nn

from expunge.batch import Predictor, Split
from expunge.data import TensorExamples
from expunge.engine.guard import commit_masked_, masked_step
from expunge.errors import ConfigError, ModelError
from expunge.masks import Mask, Saliency
from expunge.surgery import Direction, EUPMUSurgery, Projection, WeightedSum


class Given(Mask):
    """Passes given weights."""

    def __init__(self, pieces):
        super().__init__()
        self.pieces, self.seen = pieces, []

    def compute(self, displacement, step):
        self.seen.append(displacement.clone())
        return Direction(self.pieces)


def soft(model, seed=0):
    """Weights of which about a third are 0, a third 1 and a third in between."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [3 * torch.rand(p.shape, generator=generator, dtype=p.dtype) - 1 for p in model.parameters()]
    return [piece.clamp(0, 1) for piece in drawn]


@pytest.mark.parametrize("optimise", [sgd, adamw], ids=["sgd", "adamw"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_soft_masks_weigh_the_displacement(optimise, dtype):
    """Against a copy of the optimizer that moves freely from the same weights at each update."""
    ours, theirs = mlp(dtype), mlp(dtype)
    mask, free = Given(soft(ours)), optimise(theirs.parameters())
    step = stepper(ours, WeightedSum(0.5, 1.0), optimise, mask=mask)
    for index in range(4):
        forget, retain = batch(2 * index, dtype=dtype), batch(2 * index + 1, dtype=dtype)
        old = [p.detach().clone() for p in theirs.parameters()]
        free.zero_grad()
        (0.5 * ce(theirs, forget)).backward()
        ce(theirs, retain).backward()
        free.step()
        new = [p.detach().clone() for p in theirs.parameters()]
        step(forget, retain)
        assert torch.equal(flat(mask.seen[-1]), flat(old) - flat(new))
        for ours_now, o, n, m in zip(ours.parameters(), old, new, mask.pieces, strict=True):
            assert torch.equal(ours_now[m == 0], o[m == 0])
            assert torch.equal(ours_now[m == 1], n[m == 1])
            torch.testing.assert_close(ours_now.detach(), o + m * (n - o), rtol=0, atol=1e-7)
        with torch.no_grad():
            for target, source in zip(theirs.parameters(), ours.parameters(), strict=True):
                target.copy_(source)


@pytest.mark.parametrize("make", [WeightedSum, Projection, EUPMUSurgery])
@pytest.mark.parametrize("optimise", [sgd, adamw], ids=["sgd", "adamw"])
def test_what_is_masked_stays_to_the_bit(make, optimise):
    model = mlp(torch.float32)
    pieces = [piece > 0.5 for piece in soft(model)]
    step = stepper(model, make(), optimise, mask=Given(pieces))
    for index in range(6):
        step(batch(index, dtype=torch.float32), batch(index + 9, dtype=torch.float32))
    kept, before = flat(pieces), weights(mlp(torch.float32))
    assert torch.equal(weights(model)[~kept], before[~kept])
    assert (weights(model)[kept] != before[kept]).all()


@pytest.mark.parametrize("optimise", [sgd, adamw], ids=["sgd", "adamw"])
def test_a_mask_on_the_gradient_leaks_and_ours_does_not(optimise):
    """Defect: weight decay and momentum move weights whose gradient alone is masked."""
    model = mlp()
    pieces = [piece > 0.5 for piece in soft(model)]
    kept, before = flat(pieces), weights(model)
    optimizer = optimise(model.parameters())
    ce(model, batch(0)).backward()
    for parameter, piece in zip(model.parameters(), pieces, strict=True):
        parameter.grad *= piece
    optimizer.step()
    assert (weights(model)[~kept] != before[~kept]).all()

    ours = mlp()
    stepper(ours, WeightedSum(), optimise, mask=Given(pieces))(batch(0), batch(1))
    assert torch.equal(weights(ours)[~kept], before[~kept])


def committed(old, new, weight):
    """The weights after a masked step, beside those before it and those of the optimizer."""
    result = new.clone()
    commit_masked_(result, old, weight)
    return result


def test_the_ends_are_exact_where_arithmetic_is_not():
    old, new = torch.tensor([1e8, 0.1, 1.0, 3.0]), torch.tensor([1.0, 1e8, torch.inf, torch.nan])
    everything, nothing, quarter = torch.ones(4), torch.zeros(4), torch.tensor(0.25)
    for kind in (torch.float32, torch.bool):
        assert torch.equal(committed(old, new, nothing.to(kind)), old)
        assert committed(old, new, everything.to(kind)).nan_to_num(-1).equal(new.nan_to_num(-1))
    assert float(committed(torch.tensor(1.0), torch.tensor(2.0), quarter)) == 1.25
    assert committed(old, new, torch.full((4,), torch.nan)).isnan().all()


def test_a_mask_that_fails_takes_the_step_back():
    parameter = nn.Parameter(torch.ones(3))

    def broken(displacement):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), masked_step([parameter], broken):
        parameter.data.add_(1.0)
    assert torch.equal(parameter.detach(), torch.ones(3))
    with pytest.raises(ValueError, match="zip"), masked_step([parameter], lambda displacement: Direction([])):
        parameter.data.add_(1.0)
    assert torch.equal(parameter.detach(), torch.ones(3))


def prepared(model, keep=0.3):
    mask, examples = Saliency(keep), TensorExamples(batch(0).inputs, batch(0).targets)
    mask.prepare(Predictor(model), Split(examples, examples, 3))
    return mask


def test_the_order_of_the_optimizers_groups_does_not_confuse_a_mask():
    """Weights and biases in groups of their own, biases first: the mask is in the model's order."""
    model = mlp()
    mask = prepared(model)
    kept, before = flat(mask.compute(Direction(model.parameters()), None)), weights(model)
    groups = [{"params": [model[2].bias, model[0].bias]}, {"params": [model[2].weight, model[0].weight]}]
    stepper(model, WeightedSum(), lambda _: sgd(groups), mask=mask)(batch(0), batch(1))
    assert torch.equal(weights(model) != before, kept)


def test_an_unprepared_mask_is_refused_before_anything_moves():
    model = mlp()
    step = stepper(model, WeightedSum(), mask=Saliency())
    with pytest.raises(ConfigError, match="prepare"):
        step(batch(0), batch(1))
    assert torch.equal(weights(model), weights(mlp()))


def test_a_mask_of_other_weights_is_refused():
    model = mlp()
    step = stepper(model, WeightedSum(), lambda _: sgd(model[2].parameters()), mask=prepared(model))
    with pytest.raises(ModelError, match="4 pieces for 2"):
        step(batch(0), batch(1))
    assert torch.equal(weights(model), weights(mlp()))
