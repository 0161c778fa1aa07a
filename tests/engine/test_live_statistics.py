"""Combinations that are not linear, on networks whose normalization statistics move during the update."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from expunge.engine import Stepper
from expunge.objectives import CrossEntropy
from expunge.pair import Pair
from expunge.surgery import Surgery


class Logs(Surgery):
    def forward(self, step):
        self.losses = step.backward(lambda forget, retain: forget.log() + 2.0 * retain.log())


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)).double()


def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(8, 4, generator=generator).double(), torch.randint(0, 3, (8,), generator=generator)


def test_separate_statistics_take_the_log_form(model):
    forget, retain, twin = batch(1), batch(2), copy.deepcopy(model).train()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    Stepper(model, sgd, Logs(), Pair(CrossEntropy(), CrossEntropy()), batch_norm="separate")(forget, retain)
    for weight, (images, labels) in ((1.0, forget), (2.0, retain)):
        (weight * functional.cross_entropy(twin(images), labels).log()).backward()
    torch.optim.SGD(twin.parameters(), lr=0.1).step()
    for (name, found), expected in zip(model.state_dict().items(), twin.state_dict().values(), strict=True):
        torch.testing.assert_close(found, expected, msg=name)
