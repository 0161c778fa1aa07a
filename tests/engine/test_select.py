"""A selection goes back to the iterate that its rule chooses."""

import pytest
import torch
from torch import nn

from expunge.batch import Predictor, Split
from expunge.data import TensorExamples
from expunge.engine import Conditions, Descend, Edit, Optimiser, Recipe, Select, execute
from expunge.errors import ConfigError
from expunge.objectives import Ascent, CrossEntropy
from expunge.pair import Pair
from expunge.surgery import Fixed

GENERATOR = torch.Generator().manual_seed(0)
X, Y = torch.randn(40, 4, generator=GENERATOR), torch.arange(40) % 3
SPLIT = Split(TensorExamples(X[:8], Y[:8]), TensorExamples(X[8:], Y[8:]), 3)


def stage(epochs=4):
    return Descend(Pair(Ascent(), CrossEntropy()), Fixed(), Optimiser(0.1), epochs, Pair(8, 8))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def after(epochs):
    model = network()
    if epochs:
        execute(Predictor(model), Recipe((stage(epochs),)), SPLIT, Conditions(normalisation="separate"))
    return model.state_dict()


@pytest.mark.parametrize("chosen", [0, 2, 4])
def test_the_chosen_iterate_is_that_of_a_run_which_stopped_there(chosen):
    model, seen = network(), []

    def measure(predict, split):
        assert not predict.model.training
        seen.append(float(predict(X).sum()))
        return {"sum": seen[-1]}

    recipe = Recipe((stage(), Select(measure, lambda readings: chosen)))
    execute(Predictor(model), recipe, SPLIT, Conditions(normalisation="separate"))
    assert len(seen) == 5
    assert len(set(seen)) == 5
    for name, value in after(chosen).items():
        assert torch.equal(value, model.state_dict()[name]), name
    assert model(X).sum().item() == pytest.approx(seen[chosen], rel=1e-5)


@pytest.mark.parametrize("stages", [("select",), ("edit", "select"), ("descend", "select", "select")])
def test_a_selection_needs_a_descent_before_it(stages):
    kinds = {
        "select": Select(lambda predict, split: {}, lambda readings: 0),
        "edit": Edit(lambda model, data: None),
        "descend": stage(),
    }
    with pytest.raises(ConfigError, match="right after a descent"):
        execute(Predictor(network()), Recipe(tuple(kinds[name] for name in stages)), SPLIT, Conditions())
