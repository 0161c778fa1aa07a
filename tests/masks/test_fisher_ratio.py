"""The Fisher mask against single examples' gradients."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from expunge.batch import Predictor, Split
from expunge.data import TensorExamples
from expunge.engine import OptimizerConfig, RunOptions, StageRunner, Stepper, TrainStage
from expunge.errors import ConfigError
from expunge.masks import FisherRatio
from expunge.masks.fisher_ratio import fisher_diagonal
from expunge.objectives import CrossEntropy, NegativeCrossEntropy
from expunge.pair import Pair
from expunge.surgery import Direction, WeightedSum
from expunge.testing import ToyStep, linear


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double().eval()


def examples(seed, size):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(size, 5, generator=generator, dtype=torch.float64)
    return TensorExamples(inputs, torch.randint(0, 3, (size,), generator=generator))


SPLIT = Split(examples(0, 9), examples(1, 22), 3)


def slow_diagonal(model, some, group):
    total = 0
    for part in torch.randperm(len(some), generator=torch.Generator().manual_seed(0)).split(group):
        slope = 0
        for x, y in zip(some.inputs[part], some.targets[part], strict=True):
            loss = functional.cross_entropy(model(x[None]), y[None])
            slope = slope + torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
        total = total + slope**2
    return total / len(some)


def flat(direction):
    return torch.cat([piece.flatten() for piece in direction])


@pytest.mark.parametrize("group", [1, 4, 100])
def test_the_diagonal_is_the_mean_of_squared_gradients(group):
    found = flat(fisher_diagonal(Predictor(network()), SPLIT.retain, group))
    torch.testing.assert_close(found, slow_diagonal(network(), SPLIT.retain, group))


def test_looking_leaves_no_gradient_and_skips_frozen_weights():
    model = network()
    model[0].requires_grad_(False)
    assert len(fisher_diagonal(Predictor(model), SPLIT.retain)) == 2
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("threshold", [0.5, 1.0, 3.0])
def test_the_mask_compares_both_diagonals(threshold):
    mask = FisherRatio(threshold, group=1)
    mask.prepare(Predictor(network()), SPLIT)
    forget, retain = (slow_diagonal(network(), side, 1) for side in (SPLIT.forget, SPLIT.retain))
    expected = forget >= threshold * retain
    assert 0 < int(expected.sum()) < len(expected)
    step = ToyStep([torch.zeros(1)], Pair(linear(torch.ones(1)), linear(torch.ones(1))))
    assert torch.equal(flat(mask.compute(Direction(network().parameters()), step)), expected)
    step = ToyStep([torch.zeros(1)], step.losses, sizes=Pair(0.0, 4.0))
    assert flat(mask.compute(Direction(network().parameters()), step)).all()


def test_masked_weights_stand_still_in_forget_updates_alone():
    """Defect: with a mask on the gradient the momentum of retain updates moves them."""
    mask = FisherRatio(1.0, group=1)
    model = network()
    mask.prepare(Predictor(model), SPLIT)
    kept, trail = flat(mask.get_mask()), [flat(model.parameters()).detach()]
    stage = TrainStage(
        Pair(NegativeCrossEntropy(), CrossEntropy()),
        WeightedSum(),
        OptimizerConfig(0.05),
        2,
        Pair(3, 5),
        "interleaved",
        mask,
    )
    watch = lambda _: trail.append(flat(model.parameters()).detach().clone())  # noqa: E731
    StageRunner(Predictor(model), stage, SPLIT, RunOptions(on_step=watch)).run()
    moved = [before != after for before, after in pairwise(trail)]
    assert len(moved) == 2 * 2 * 5
    assert not any((step & ~kept).any() for step in moved[0::2])
    assert all(step[kept].all() for step in moved[0::2])
    assert all(step.all() for step in moved[1::2])


def test_momentum_hands_nothing_of_a_forget_update_to_masked_weights():
    """Defect: a mask on the update alone leaves the whole forget gradient in the momentum of the retain updates."""
    mask, model = FisherRatio(1.0, group=1), network()
    mask.prepare(Predictor(model), SPLIT)
    kept = flat(mask.get_mask())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step = Stepper(model, optimizer, WeightedSum(), Pair(NegativeCrossEntropy(), Nothing()), mask)
    start = flat(model.parameters()).detach().clone()
    step(SPLIT.forget.batch(torch.arange(4)), None)
    for _ in range(4):
        before = flat(model.parameters()).detach().clone()
        step(None, SPLIT.retain.batch(torch.arange(4)))
        assert torch.equal(flat(model.parameters())[~kept], start[~kept])
        assert (flat(model.parameters()) != before)[kept].any()


class Nothing(CrossEntropy):
    """A loss whose gradient is 0."""

    def __call__(self, model, batch):
        return 0.0 * super().__call__(model, batch)


@pytest.mark.parametrize("settings", [{"threshold": -1.0}, {"group": 0}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ConfigError, match="groups of 1 or more"):
        FisherRatio(**settings)
