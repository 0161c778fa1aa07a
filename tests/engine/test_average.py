"""Averaged weights against a loop in NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

from expunge.batch import Predictor, Split
from expunge.data import TensorExamples
from expunge.engine import MethodRecipe, ModelEMA, OptimizerConfig, RunOptions, SelectStage, TrainStage, run_recipe
from expunge.errors import ConfigError
from expunge.masks import Saliency
from expunge.objectives import CrossEntropy
from expunge.pair import Pair
from expunge.surgery import WeightedSum


def split():
    inputs = torch.randn(48, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(48) % 2
    return Split(TensorExamples(inputs[:8], targets[:8]), TensorExamples(inputs[8:], targets[8:]), 2)


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Linear(3, 2)


def descent(mask=None, epochs=3):
    optimizer = OptimizerConfig(0.1)
    return TrainStage(
        Pair(CrossEntropy(), CrossEntropy()), WeightedSum(1.0, 1.0), optimizer, epochs, Pair(8, 8), mask=mask
    )


def carried_out(*stages, ema_decay=None):
    """The model after a recipe, and its weights after each update."""
    model, seen = network(), []
    keep = lambda _: seen.append(model.weight.detach().clone())  # noqa: E731
    run_recipe(Predictor(model), MethodRecipe(stages), split(), RunOptions(ema_decay=ema_decay, on_step=keep))
    return model, seen


def by_hand(start, iterates, decay):
    average = start.numpy().astype(np.float64)
    for count, weight in enumerate(iterates):
        b = min(decay, (1 + count) / (10 + count))
        average = b * average + (1 - b) * weight.numpy()
    return average


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9, 0.9999])
def test_the_average_is_handed_over_and_the_updates_are_those_without(decay):
    plain, path = carried_out(descent())
    averaged, same = carried_out(descent(), ema_decay=decay)
    assert all(torch.equal(a, b) for a, b in zip(path, same, strict=True))
    np.testing.assert_allclose(averaged.weight.detach().numpy(), by_hand(network().weight.detach(), path, decay), 1e-5)
    assert torch.equal(averaged.weight, plain.weight) == (decay == 0.0)


def test_what_a_mask_keeps_still_is_still_in_the_average():
    model, _ = carried_out(descent(Saliency(fraction=0.3)), ema_decay=0.8)
    moved = torch.cat([(a != b).flatten() for a, b in zip(model.parameters(), network().parameters(), strict=True)])
    assert int(moved.sum()) == round(0.3 * len(moved))


def test_a_selection_sees_and_takes_averages():
    read, chosen = [], []

    def measure(predict, _):
        read.append(predict.model.weight.detach().clone())
        return {"number": float(len(read))}

    model, path = carried_out(
        descent(), SelectStage(measure, lambda readings: chosen.append(readings) or 2), ema_decay=0.5
    )
    assert len(chosen[0]) == 4
    np.testing.assert_allclose(
        read[2].numpy(), by_hand(network().weight.detach(), path[: 2 * len(path) // 3], 0.5), 1e-5
    )
    assert torch.equal(model.weight, read[2])


def test_a_decay_out_of_range_is_refused():
    for decay in (-0.1, 1.0, float("nan")):
        with pytest.raises(ConfigError, match=r"a decay in \[0, 1\)"):
            ModelEMA([], decay)
