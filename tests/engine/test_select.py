"""A selection goes back to the iterate that its rule chooses."""

import pytest
import torch
from torch import nn

from expunge.batch import Predictor, Split
from expunge.data import TensorExamples
from expunge.engine import EditStage, MethodRecipe, OptimizerConfig, RunOptions, SelectStage, TrainStage, run_recipe
from expunge.errors import ConfigError
from expunge.objectives import CrossEntropy, NegativeCrossEntropy
from expunge.pair import Pair
from expunge.surgery import WeightedSum

GENERATOR = torch.Generator().manual_seed(0)
X, Y = torch.randn(40, 4, generator=GENERATOR), torch.arange(40) % 3
SPLIT = Split(TensorExamples(X[:8], Y[:8]), TensorExamples(X[8:], Y[8:]), 3)


def stage(epochs=4):
    return TrainStage(
        Pair(NegativeCrossEntropy(), CrossEntropy()), WeightedSum(), OptimizerConfig(0.1), epochs, Pair(8, 8)
    )


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def after(epochs):
    model = network()
    if epochs:
        run_recipe(Predictor(model), MethodRecipe((stage(epochs),)), SPLIT, RunOptions(batch_norm="separate"))
    return model.state_dict()


@pytest.mark.parametrize("chosen", [0, 2, 4])
def test_the_chosen_iterate_is_that_of_a_run_which_stopped_there(chosen):
    model, seen = network(), []

    def measure(predict, split):
        assert not predict.model.training
        seen.append(float(predict(X).sum()))
        return {"sum": seen[-1]}

    recipe = MethodRecipe((stage(), SelectStage(measure, lambda readings: chosen)))
    run_recipe(Predictor(model), recipe, SPLIT, RunOptions(batch_norm="separate"))
    assert len(seen) == 5
    assert len(set(seen)) == 5
    for name, value in after(chosen).items():
        assert torch.equal(value, model.state_dict()[name]), name
    assert model(X).sum().item() == pytest.approx(seen[chosen], rel=1e-5)


@pytest.mark.parametrize("stages", [("select",), ("edit", "select"), ("descend", "select", "select")])
def test_a_selection_needs_a_descent_before_it(stages):
    kinds = {
        "select": SelectStage(lambda predict, split: {}, lambda readings: 0),
        "edit": EditStage(lambda model, data: None),
        "descend": stage(),
    }
    with pytest.raises(ConfigError, match="right after a descent"):
        run_recipe(Predictor(network()), MethodRecipe(tuple(kinds[name] for name in stages)), SPLIT, RunOptions())


def test_a_selection_chooses_from_all_descents_right_before_it():
    seen = []

    def measure(predict, split):
        seen.append(predict.model.state_dict()["0.weight"].clone())
        return {}

    model = network()
    recipe = MethodRecipe(
        (stage(1), EditStage(lambda predict, data: None), stage(2), stage(3), SelectStage(measure, lambda found: 3))
    )
    run_recipe(Predictor(model), recipe, SPLIT, RunOptions())
    assert len(seen) == 1 + 2 + 3
    assert torch.equal(model[0].weight, seen[3])


def test_history_and_seeds_go_on_from_stage_to_stage():
    rows, met = [], []
    recipe, split = MethodRecipe((stage(2), stage(1))), Split(Recorder(met), SPLIT.retain, 3)
    run_recipe(Predictor(network()), recipe, split, RunOptions(on_log=rows.extend, on_step=met.append))
    progress = [entry for entry in met if isinstance(entry, tuple)]
    assert [row["step"] for row in rows] == [entry.step for entry in progress] == list(range(12))
    assert [row["epoch"] for row in rows] == [0] * 4 + [1] * 4 + [2] * 4
    assert {entry.total for entry in progress} == {12}
    order = [tuple(entry) for entry in met if isinstance(entry, list)]
    assert order[:4] != order[8:]


class Recorder(TensorExamples):
    def __init__(self, met):
        super().__init__(X[:8], Y[:8])
        self.met = met

    def batch(self, indices):
        self.met.append(indices.tolist())
        return super().batch(indices)
