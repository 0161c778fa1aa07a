"""Saliency against gradients of single examples."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from expunge.batch import Predictor, Split
from expunge.data import TensorExamples
from expunge.errors import ConfigError
from expunge.masks import Saliency
from expunge.masks.saliency import largest_mask
from expunge.surgery import Direction


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Dropout(0.5), nn.Tanh(), nn.Linear(7, 3)).double()
        model(torch.randn(30, 5).double())
    return model.eval()


def split(size=23):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(size, 5, generator=generator, dtype=torch.float64)
    forget = TensorExamples(inputs, torch.randint(0, 3, (size,), generator=generator))
    return Split(forget, TensorExamples(-inputs, forget.targets), 3)


def mask_of(mask, model, data=None):
    mask.prepare(Predictor(model), data or split())
    return torch.cat([piece.flatten() for piece in mask.compute(Direction(model.parameters()), None)])


def slow_magnitudes(model):
    """|mean of single examples' gradients of −CE|, one backward pass each."""
    data, total = split().forget, 0
    for x, y in zip(data.inputs, data.targets, strict=True):
        loss = -functional.cross_entropy(model(x[None]), y[None])
        total = total + torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
    return (total / len(data)).abs()


@pytest.mark.parametrize("keep", [0.01, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("batch_size", [1, 5, 256])
def test_the_most_salient_weights_are_kept(keep, batch_size):
    """Defect: a public port keeps the least salient ones."""
    model = network()
    kept, magnitudes = mask_of(Saliency(keep, batch_size), model), slow_magnitudes(model)
    assert int(kept.sum()) == round(keep * len(magnitudes))
    threshold = magnitudes.sort(descending=True).values[int(kept.sum()) - 1]
    assert torch.equal(kept, magnitudes >= threshold * (1 - 1e-9))


def test_every_forget_example_counts_and_no_retain_example():
    class Reader(TensorExamples):
        def batch(self, indices):
            met.extend(indices.tolist())
            return super().batch(indices)

    met, data = [], split()
    forget = Reader(data.forget.inputs, data.forget.targets)
    Saliency(batch_size=4).prepare(Predictor(network()), Split(forget, data.retain, 3))
    assert met == list(range(23))


def test_the_original_is_left_as_it_was():
    model = network()
    held = [torch.ones_like(p) for p in model.parameters()]
    for parameter, gradient in zip(model.parameters(), held, strict=True):
        parameter.grad = gradient
    before = {name: value.clone() for name, value in model.state_dict().items()}
    Saliency().prepare(Predictor(model), split())
    for parameter, gradient in zip(model.parameters(), held, strict=True):
        assert parameter.grad is gradient
        assert (gradient == 1).all()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_ties_are_broken_by_position_and_one_weight_passes_at_least():
    pieces = Direction([torch.zeros(3), torch.zeros(2, 2)])
    assert [piece.tolist() for piece in largest_mask(pieces, 4 / 7)] == [[True] * 3, [[True, False], [False, False]]]
    assert sum(int(piece.sum()) for piece in largest_mask(pieces, 1e-9)) == 1


def test_frozen_weights_have_no_piece():
    model = network()
    model[0].requires_grad_(False)
    mask = Saliency()
    mask.prepare(Predictor(model), split())
    assert mask.num_pieces == 4


def test_a_mask_is_rebuilt_from_its_state():
    first, second = Saliency(0.3), Saliency(0.3)
    model = network()
    kept = mask_of(first, model)
    second.load_state_dict(first.state_dict())
    second.observe(None)
    again = torch.cat([piece.flatten() for piece in second.compute(Direction(model.parameters()), None)])
    assert torch.equal(kept, again)


@pytest.mark.parametrize("keep", [0.0, -0.5, 1.5])
def test_bad_shares_are_refused(keep):
    with pytest.raises(ConfigError, match="share of weights"):
        Saliency(keep)


def test_a_share_that_is_no_number_is_refused():
    with pytest.raises(ConfigError, match="a number for 'fraction' of Saliency, but found nan"):
        Saliency(float("nan"))


@pytest.mark.parametrize("mask", [Saliency(0.3), Saliency(0.5, batch_size=8)], ids=repr)
def test_repr_rebuilds(mask):
    assert repr(eval(repr(mask))) == repr(mask)
