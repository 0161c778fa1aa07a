"""What a run's driver asks of a descent, against a loop written out: rates, weights that are restored, ends."""

import copy
import math

import pytest
import torch
from small_networks import batch, ce, mlp, weights

from expunge.batch import Batch, Predictor, Split
from expunge.data import PairSampler, TensorExamples
from expunge.engine import CONTINUE, LoopAction, MethodRecipe, OptimizerConfig, RunOptions, TrainStage, run_recipe
from expunge.objectives import CrossEntropy
from expunge.pair import Pair
from expunge.surgery import WeightedSum

RATE, MOMENTUM, EPOCHS, DECAY = 0.1, 0.9, 3, 0.8


def split():
    sides = [TensorExamples(b.inputs, b.targets) for b in (batch(0, 8), batch(1, 24))]
    return Split(*sides, 3)


def guided(asked, schedule="constant", ema_decay=None):
    """The model, its history, what was shown as judged after each update, and the updates that were made."""
    model, rows, judged, steps = mlp(), [], [], []

    def guide(progress, shown):
        with shown():
            judged.append(copy.deepcopy(model.state_dict()))
        return asked.get(progress.step, CONTINUE)

    stage = TrainStage(
        Pair(CrossEntropy(), CrossEntropy()),
        WeightedSum(1.0, 1.0),
        OptimizerConfig(RATE, momentum=MOMENTUM, weight_decay=0.0, schedule=schedule),
        EPOCHS,
        Pair(4, 8),
    )
    conditions = RunOptions(ema_decay=ema_decay, on_log=rows.extend, on_step=steps.append, on_update=guide)
    run_recipe(Predictor(model), MethodRecipe((stage,)), split(), conditions)
    return model, rows, judged, steps


def slow(asked, schedule="constant", ema_decay=None):
    """The same by plain loops: heavy-ball momentum, a mean of weights, and the driver's wishes after each update."""
    model, data = mlp(), split()
    stream = PairSampler(Pair(8, 24), Pair(4, 8), "paired", 0)
    parameters, total, factor, seen, judged = list(model.parameters()), EPOCHS * len(stream), 1.0, 0, []
    velocity, mean = None, [p.detach().clone() for p in parameters]
    for number in range(total):
        draw = stream.sample(*divmod(number, len(stream)))
        forget, retain = (
            Batch(side.inputs[at], side.targets[at], at)
            for side, at in ((data.forget, draw.forget), (data.retain, draw.retain))
        )
        slopes = torch.autograd.grad(ce(model, forget) + ce(model, retain), parameters)
        old = velocity or [torch.zeros_like(p) for p in parameters]
        velocity = [MOMENTUM * v + slope for v, slope in zip(old, slopes, strict=True)]
        rate = factor * RATE * (0.5 * (1 + math.cos(math.pi * number / total)) if schedule == "cosine" else 1.0)
        keep = 0.0 if ema_decay is None else min(ema_decay, (1 + seen) / (10 + seen))
        with torch.no_grad():
            for p, v in zip(parameters, velocity, strict=True):
                p.sub_(rate * v)
            mean = [keep * a + (1 - keep) * p for a, p in zip(mean, parameters, strict=True)]
        seen += 1
        judged.append(torch.cat([a.flatten() for a in mean]))
        wish = asked.get(number, CONTINUE)
        factor *= wish.lr_factor
        if wish.weights is not None:
            model.load_state_dict(wish.weights)
            velocity, seen, mean = None, 0, [p.detach().clone() for p in parameters]
        if wish.stop:
            break
    return torch.cat([a.flatten() for a in mean]), judged


def elsewhere():
    """Weights of another model."""
    model = mlp()
    return {name: value + 0.25 for name, value in model.state_dict().items()}


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("average", [None, DECAY])
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {1: LoopAction(lr_factor=0.5)},
        {1: LoopAction(lr_factor=0.5), 4: LoopAction(lr_factor=3.0)},
        {3: LoopAction(weights=elsewhere())},
        {2: LoopAction(lr_factor=0.25, weights=elsewhere()), 5: LoopAction(weights=elsewhere())},
        {4: LoopAction(stop=True)},
        {3: LoopAction(weights=elsewhere(), stop=True)},
    ],
    ids=["nothing", "slower", "slower and faster", "restored", "restored twice", "stopped", "restored and stopped"],
)
def test_a_driver_gets_what_it_asks_for(asked, average, schedule):
    model, rows, judged, steps = guided(asked, schedule, average)
    expected, path = slow(asked, schedule, average)
    torch.testing.assert_close(weights(model), expected, rtol=1e-9, atol=1e-12)
    assert len(rows) == len(steps) == len(judged) == len(path)
    for shown, other in zip(judged, path, strict=True):
        torch.testing.assert_close(torch.cat([v.flatten() for v in shown.values()]), other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_weights_are_restored_to_the_bit_and_the_end_is_at_once(schedule):
    wanted = elsewhere()
    model, rows, _, _ = guided({4: LoopAction(weights=wanted, stop=True)}, schedule, DECAY)
    assert all(torch.equal(value, wanted[name]) for name, value in model.state_dict().items())
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]


def test_a_rate_of_nothing_leaves_the_weights_where_they_are():
    model, rows, judged, _ = guided({3: LoopAction(lr_factor=0.0)})
    assert len(rows) == 9
    assert all(torch.equal(value, judged[3][name]) for name, value in model.state_dict().items())
    assert not torch.equal(judged[3]["0.weight"], judged[2]["0.weight"])


def test_guidance_can_be_slowed_without_losing_anything_else():
    wanted = elsewhere()
    slower = LoopAction(lr_factor=0.5, weights=wanted).scale_lr(0.5)
    assert (slower.lr_factor, slower.weights, slower.stop) == (0.25, wanted, False)
