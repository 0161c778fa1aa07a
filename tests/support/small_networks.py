"""Small networks, batches and slow loops that the engine's tests compare with."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from expunge.batch import Batch
from expunge.engine import Stepper
from expunge.objectives import CrossEntropy
from expunge.pair import Pair

POLICIES = ("frozen", "joint", "separate")


def built(make, dtype=torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return make().to(dtype)


def mlp(dtype=torch.float64):
    return built(lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), dtype)


def normalized(dtype=torch.float64):
    """A network with batch normalization that has seen some data."""
    model = built(lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)), dtype)
    model(2 * batch(77, 40, dtype).inputs + 1)
    return model


def noisy(dtype=torch.float64):
    return built(lambda: nn.Sequential(nn.Linear(6, 32), nn.Dropout(0.5), nn.Linear(32, 3)), dtype)


def batch(seed, size=12, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(size, 6, generator=generator, dtype=torch.float64).to(dtype)
    return Batch(inputs, torch.randint(0, 3, (size,), generator=generator), torch.arange(size))


def sgd(parameters, rate=0.1):
    return torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=0.01)


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1)


def stepper(model, surgery, optimise=sgd, objectives=None, **options):
    pair = objectives or Pair(CrossEntropy(), CrossEntropy())
    return Stepper(model, optimise(list(model.parameters())), surgery, pair, **options)


def ce(model, some):
    return functional.cross_entropy(model(some.inputs), some.targets)


def gradients(model, loss):
    return [g.detach() for g in torch.autograd.grad(loss, list(model.parameters()))]


def flat(pieces):
    return torch.cat([piece.detach().flatten() for piece in pieces])


def weights(model):
    return flat(model.parameters())


def buffers(model):
    return {name: value.clone() for name, value in model.named_buffers()}


def assert_same_buffers(model, before):
    for name, value in model.named_buffers():
        assert torch.equal(value, before[name]), name
