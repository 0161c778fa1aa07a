"""Numbers that are not finite, half precision that overflows, and what double precision says of every surgery."""

from __future__ import annotations

import copy

import pytest
import torch
from flat_calls import flat_unlearn
from small_requests import sides
from torch import nn

from expunge import registry
from expunge.batch import Predictor, Split
from expunge.data import TensorExamples
from expunge.engine import MethodRecipe, OptimizerConfig, RunOptions, TrainStage, run_recipe
from expunge.errors import MissingExtraError, NotFiniteError
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.pair import Pair
from expunge.surgery import WeightedSum

SURGERIES = {name: entry.target for name, entry in registry.list_entries("surgeries").items()}


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def recipe(surgery, epochs=2, rate=0.01):
    pair = Pair(RandomLabel(), CrossEntropy())
    return MethodRecipe((TrainStage(pair, surgery, OptimizerConfig(rate, momentum=0.5), epochs, Pair(8, 12)),))


def weights_after(surgery, kind, **conditions):
    forget, retain = (TensorExamples(side.inputs.to(kind), side.targets) for side in sides())
    model = network().to(kind)
    run_recipe(Predictor(model), recipe(surgery), Split(forget, retain, 3), RunOptions(**conditions))
    return torch.cat([weight.detach().double().flatten() for weight in model.parameters()])


@pytest.mark.parametrize("name", SURGERIES)
def test_double_precision_agrees(name):
    try:
        found, reference = (weights_after(SURGERIES[name](), kind) for kind in (torch.float32, torch.float64))
    except MissingExtraError as error:
        pytest.skip(str(error))
    start = torch.cat([weight.detach().double().flatten() for weight in network().parameters()])
    moved = (reference - start).norm()
    assert moved > 1e-3
    assert (found - reference).norm() < 2e-4 * moved


class Breaks(CrossEntropy):
    """Has no finite loss after so many calls of ``sample``."""

    def __init__(self, after):
        super().__init__()
        self.after, self.draws = after, 0

    def sample(self, batch, epoch, generator):
        self.draws += 1
        return super().sample(batch, epoch, generator)

    def __call__(self, model, batch):
        loss = super().__call__(model, batch)
        return loss * float("nan") if self.draws > self.after else loss


def run_that_breaks(after, read_every, seen):
    model = network()
    stage = TrainStage(Pair(Breaks(after), CrossEntropy()), WeightedSum(), OptimizerConfig(0.05), 3, Pair(8, 12))

    def note(progress):
        seen.append(copy.deepcopy(model.state_dict()))

    forget, retain = sides()
    given = RunOptions(log_every=read_every, on_step=note)
    with pytest.raises(NotFiniteError) as told:
        run_recipe(Predictor(model), MethodRecipe((stage,)), Split(forget, retain, 3), given)
    return model, str(told.value)


@pytest.mark.parametrize(("after", "back"), [(1, 0), (2, 0), (3, 2), (4, 2), (5, 4), (7, 6)])
def test_the_last_good_weights_are_back_and_the_batch_is_named(after, back):
    """Readings at every second update; weights count as good once the loss of the update after them is known."""
    seen = [network().state_dict()]
    model, told = run_that_breaks(after, 2, seen)
    assert (
        f"at update {after} (batch {after % 4} of epoch {after // 4}); the weights are back at those after {back} "
        in told
    )
    for name, value in model.state_dict().items():
        assert torch.equal(value, seen[back][name]), name


@pytest.mark.parametrize("inplace", [False, True])
def test_unlearn_keeps_the_original_and_lends_the_last_good_iterate(inplace):
    model, (forget, retain) = network(), sides()
    before = copy.deepcopy(model.state_dict())
    options = {"method": "ga", "epochs": 60, "lr": 1e30, "max_grad_norm": None, "inplace": inplace}
    with pytest.raises(NotFiniteError) as told:
        flat_unlearn(model, forget=forget, retain=retain, **options)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    if not inplace:
        assert isinstance(told.value.model, nn.Module)
        assert all(value.isfinite().all() for value in told.value.model.state_dict().values())


def test_bfloat16_stays_near_full_precision():
    start = torch.cat([weight.detach().double().flatten() for weight in network().parameters()])
    full = weights_after(WeightedSum(), torch.float32)
    found = weights_after(WeightedSum(), torch.float32, precision="bf16")
    assert (found - full).norm() < 0.05 * (full - start).norm()
