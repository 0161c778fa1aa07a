"""The method with a controller, through the engine: one budget, a tenfold range of rates."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from expunge.batch import Predictor, Split
from expunge.data import TensorExamples
from expunge.engine import RunOptions, run_recipe
from expunge.methods import RandomLabels, RandomLabelsWithBudget
from expunge.pair import Pair

TOLERANCE = 0.05


@pytest.fixture(scope="module")
def problem():
    """Three clouds that overlap, a network trained on them, and the request to forget two fifths of the last."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat_interleave(100)
    centers = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    inputs = centers[labels] + torch.randn(300, 2, generator=generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(80):
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    chosen = torch.arange(300) >= 260
    sides = [TensorExamples(inputs[part], labels[part]) for part in (chosen, ~chosen)]
    return model.eval(), Split(*sides, 3)


def carried_out(method, problem):
    """Return by how much the losses on both sides rose."""
    model, split = problem
    work = copy.deepcopy(model)
    run_recipe(Predictor(work), method.recipe(0), split, RunOptions())
    before, after = losses(model, split), losses(work, split)
    return Pair(after.forget - before.forget, after.retain - before.retain)


@torch.no_grad()
def losses(model, split):
    sides = Pair(split.forget, split.retain)
    return sides.map(lambda side: float(functional.cross_entropy(model(side.inputs), side.targets)))


@pytest.mark.parametrize("rate", [0.005, 0.02, 0.1])
def test_one_budget_is_spent_and_kept_over_a_twentyfold_range_of_rates(problem, rate):
    settings = {"lr": rate, "epochs": 15, "batch_size": 52}
    rise = carried_out(RandomLabelsWithBudget(tolerance=TOLERANCE, **settings), problem)
    assert 0.6 * TOLERANCE < rise.retain < 1.4 * TOLERANCE
    assert rise.forget > 4 * rise.retain
    assert carried_out(RandomLabels(exclude_true=True, **settings), problem).retain > 4 * TOLERANCE
