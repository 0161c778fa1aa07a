"""Published baselines against their formulas, written out as loops or in NumPy."""

import copy
import math

import numpy as np
import pytest
import torch
from slow_descent import move, slow_descent
from torch import nn
from torch.nn import functional

from expunge.batch import Predictor, Split
from expunge.data import TensorExamples
from expunge.engine import MethodRecipe, RunOptions, combine_seeds, run_recipe
from expunge.errors import ConfigError, ModelError, ObjectiveError
from expunge.methods import GDRGMA, MSG, SSD, BadTeacher, Influence, L1Sparse, ScissorHands, Scrub, ScrubRewind, SFROn
from expunge.methods.scrub import measure_errors, select_epoch
from expunge.objectives.teacher import Teacher
from expunge.pair import Pair
from expunge.surgery import GDRGMASurgery as RectifyBoth
from expunge.testing import ToyStep


def examples(seed, size):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(size, 4, generator=generator, dtype=torch.float64)
    return TensorExamples(inputs, torch.randint(0, 3, (size,), generator=generator))


SPLIT = Split(examples(0, 11), examples(1, 26), 3, examples(2, 40))


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def head():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Linear(4, 3).double()


def carried_out(method, model, data=SPLIT, seed=0):
    work = copy.deepcopy(model)
    run_recipe(Predictor(work), method.recipe(seed), data, RunOptions(seed))
    return work


def assert_same(first, second, tolerance=1e-9):
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


def moved(first, second):
    return max(
        float((a - b).detach().abs().max()) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )


def ce(model, side):
    return functional.cross_entropy(model(side[0]), side[1])


def kl(model, teacher, side, temperature=1.0):
    q = (teacher(side[0]) / temperature).softmax(1).detach()
    p = (model(side[0]) / temperature).softmax(1)
    return temperature**2 * (q * (q / p).log()).sum(1).mean()


# --- descents, written out ------------------------------------------------------------------------------------------


def test_l1_sparse_is_fine_tuning_with_a_fading_penalty():
    method = L1Sparse(epochs=4, free_epochs=1, strength=0.01, batch_size=8, lr=0.1)
    slow, original = network(), network()

    def loss(model, forget, retain, epoch, share):
        assert forget is None
        size = sum(parameter.abs().sum() for parameter in model.parameters())
        return ce(model, retain) + 0.01 * max(0.0, 1 - epoch / 3) * size

    slow_descent(slow, SPLIT, method.recipe().stages[0], loss)
    assert_same(carried_out(method, original), slow, 1e-7)
    assert moved(slow, original) > 0.05
    plain = carried_out(L1Sparse(epochs=4, strength=0.0, batch_size=8, lr=0.1), original)
    sizes = [sum(float(p.detach().abs().sum()) for p in model.parameters()) for model in (slow, plain)]
    assert sizes[0] < sizes[1]


def test_scrub_takes_max_passes_and_min_passes_in_turn():
    method = Scrub(epochs=3, lr=0.05, batch_size=8, forget_batch_size=4, alpha=0.5, gamma=0.7, temperature=2.0)
    original, slow = network(), network()

    def loss(model, forget, retain, epoch, share):
        if retain is None:
            return -kl(model, original, forget, 2.0)
        return 0.5 * kl(model, original, retain, 2.0) + 0.7 * ce(model, retain)

    first, second = method.recipe().stages
    assert (first.epochs, second.epochs) == (2, 1)
    slow_descent(slow, SPLIT, first, loss)
    slow_descent(slow, SPLIT, second, loss, seed=combine_seeds(0, 1))
    assert_same(carried_out(method, original), slow)
    assert moved(slow, original) > 0.05


def test_bad_teacher_distils_the_union():
    method = BadTeacher(epochs=2, lr=0.1, batch_size=5, temperature=1.5)
    original, slow = network(), network()
    bad = Teacher(Predictor(original), seed=3).predict.model

    def loss(model, forget, retain, epoch, share):
        parts = [(side, teacher) for side, teacher in ((forget, bad), (retain, original)) if side is not None]
        total = sum(len(side[1]) * kl(model, teacher, side, 1.5) for side, teacher in parts)
        return total / sum(len(side[1]) for side, _ in parts)

    slow_descent(slow, SPLIT, method.recipe(3).stages[0], loss, seed=3)
    assert_same(carried_out(method, original, seed=3), slow, 1e-7)
    assert moved(slow, original) > 0.05


def test_sfr_on_forgets_fast_where_it_may_and_retains_slowly():
    method = SFROn(
        epochs=2,
        lr=0.05,
        batch_size=8,
        forget_batch_size=4,
        retain_per_forget=2,
        weight=3.0,
        group=1,
        schedule="constant",
    )
    original, slow = network(), network()
    stage = method.recipe().stages[0]
    forget, retain = (slow_fisher(original, side) for side in (SPLIT.forget, SPLIT.retain))
    keep = [(f >= r).double() for f, r in zip(forget, retain, strict=True)]

    def loss(model, forget, retain, epoch, share):
        if forget is None:
            return ce(model, retain)
        losses = functional.cross_entropy(model(forget[0]), forget[1], reduction="none")
        weights = losses.detach() ** -0.5
        return -3.0 * (1 + math.cos(math.pi * share)) / 2 * (weights * losses).sum() / weights.sum()

    mask = lambda sides: keep if sides[0] is not None else None  # noqa: E731
    slow_descent(slow, SPLIT, stage, loss, settle=mask, screen=mask)
    assert_same(carried_out(method, original), slow, 1e-7)
    assert moved(slow, original) > 0.05


def slow_fisher(model, some):
    total = [0.0 for _ in model.parameters()]
    for x, y in zip(some.inputs, some.targets, strict=True):
        slopes = torch.autograd.grad(functional.cross_entropy(model(x[None]), y[None]), list(model.parameters()))
        total = [t + s**2 / len(some) for t, s in zip(total, slopes, strict=True)]
    return total


# --- closed forms, in NumPy -----------------------------------------------------------------------------------------


def softmax_gradients(model, some):
    """The gradients of all examples' cross entropies for a linear model, (n, 3, 5), the bias last."""
    weights = np.hstack([model.weight.detach().numpy(), model.bias.detach().numpy()[:, None]])
    inputs = np.hstack([some.inputs.numpy(), np.ones((len(some), 1))])
    scores = np.exp(inputs @ weights.T)
    errors = scores / scores.sum(1, keepdims=True) - np.eye(3)[some.targets.numpy()]
    return weights, errors[:, :, None] * inputs[:, None, :]


def assert_weights(model, expected):
    found = np.hstack([model.weight.detach().numpy(), model.bias.detach().numpy()[:, None]])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_ssd_dampens_by_the_ratio_of_fisher_diagonals():
    weights, forget = softmax_gradients(head(), SPLIT.forget)
    _, retain = softmax_gradients(head(), SPLIT.retain)
    own, everything = (forget**2).mean(0), np.concatenate([forget, retain]).__pow__(2).mean(0)
    selected = own > 1.1 * everything
    assert 0 < selected.sum() < selected.size
    expected = np.where(selected, np.minimum(0.8 * everything / own, 1.0) * weights, weights)
    assert_weights(carried_out(SSD(selection=1.1, dampening=0.8, group=1), head()), expected)


def test_ssd_groups_run_over_the_shuffled_union():
    """Where all of D_f pulls in one direction, groups let F_f/F be larger than n/n_f, which single examples cannot."""
    weights, forget = softmax_gradients(head(), SPLIT.forget)
    _, retain = softmax_gradients(head(), SPLIT.retain)
    order = torch.randperm(37, generator=torch.Generator().manual_seed(5))
    both = np.concatenate([forget, retain])[order.numpy()]
    everything = sum(both[start : start + 8].sum(0) ** 2 for start in range(0, 37, 8)) / 37
    forget = forget[torch.randperm(11, generator=torch.Generator().manual_seed(0)).numpy()]
    own = sum(forget[start : start + 8].sum(0) ** 2 for start in range(0, 11, 8)) / 11
    selected = own > 1.5 * everything
    assert 0 < selected.sum() < selected.size
    expected = np.where(selected, np.minimum(everything / own, 1.0) * weights, weights)
    assert_weights(carried_out(SSD(selection=1.5, group=8), head(), seed=5), expected)


def test_ssd_never_enlarges_a_weight():
    before, after = network(), carried_out(SSD(selection=0.5, dampening=9.0), network())
    for old, new in zip(before.parameters(), after.parameters(), strict=True):
        assert (new.abs() <= old.abs()).all()


def test_influence_unlearning_is_one_step_along_the_scaled_difference_of_gradients():
    weights, forget = softmax_gradients(head(), SPLIT.forget)
    _, retain = softmax_gradients(head(), SPLIT.retain)
    step = 11 / 37 * (forget.mean(0) - retain.mean(0)) / (0.3 + (retain**2).mean(0))
    assert_weights(carried_out(Influence(step_size=2.0, damping=0.3), head()), weights + 2.0 * step)


def test_influence_looks_at_a_sample_that_the_seed_fixes():
    first, again, other = (carried_out(Influence(num_samples=5), network(), seed=s) for s in (0, 0, 1))
    assert moved(first, again) == 0
    assert moved(first, other) > 0


@pytest.mark.parametrize("method", [SSD(), Influence()], ids=lambda method: method.label)
def test_closed_forms_leave_statistics_and_modes_alone_and_can_be_repaired(method):
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)).double()
    model(SPLIT.retain.inputs)
    work = carried_out(method, model)
    assert not work.training
    for (name, old), new in zip(model.named_buffers(), work.buffers(), strict=True):
        assert torch.equal(old, new), name
    repaired = carried_out(type(method)(epochs=3, lr=0.1), model)
    with torch.no_grad():
        side = (SPLIT.retain.inputs, SPLIT.retain.targets)
        assert float(ce(repaired.eval(), side)) < float(ce(work, side))


# --- cut or redraw, then mend ---------------------------------------------------------------------------------------


def test_scissorhands_cuts_what_the_forgotten_run_through_and_nothing_else():
    before, after = network(), network()
    method = ScissorHands(quantile=0.8, last_fraction=0.5)
    run_recipe(Predictor(after), MethodRecipe(method.recipe().stages[:1]), SPLIT, RunOptions())
    slopes = torch.autograd.grad(ce(before, (SPLIT.forget.inputs, SPLIT.forget.targets)), list(before.parameters()))
    sensitive = [(slope * weight).abs().detach() for slope, weight in zip(slopes, before.parameters(), strict=True)]
    ranked = torch.cat([piece.flatten() for piece in sensitive]).sort().values
    threshold = ranked[int(0.8 * len(ranked)) - 1]
    for name, old, new, piece in zip(
        dict(before.named_parameters()), before.parameters(), after.parameters(), sensitive, strict=True
    ):
        cut = (piece > threshold) if name.startswith("2") else torch.zeros_like(piece, dtype=torch.bool)
        assert torch.equal(old != new, cut), name
        assert (new[cut].abs() <= 1 / math.sqrt(6)).all()
        if name == "2.bias":
            assert (new[cut] == 0).all()


def test_scissorhands_mends_without_going_against_its_memory():
    method = ScissorHands(
        epochs=2, lr=0.05, batch_size=26, forget_batch_size=11, weight=0.05, margin=0.2, project_every=1
    )
    # Both sides have one rule, so that learning the one is learning the other: a conflict.
    alike = Split(*(TensorExamples(x.inputs, x.inputs[:, :3].argmax(1)) for x in (SPLIT.forget, SPLIT.retain)), 3)
    cut, stage = method.recipe().stages
    slow, memory, conflicts = network(), {}, []
    run_recipe(Predictor(slow), MethodRecipe((cut,)), alike, RunOptions())
    parameters, velocity = list(slow.parameters()), [torch.zeros_like(p) for p in slow.parameters()]
    for epoch in range(2):
        forget = [-g for g in torch.autograd.grad(ce(slow, (alike.forget.inputs, alike.forget.targets)), parameters)]
        retain = torch.autograd.grad(ce(slow, (alike.retain.inputs, alike.retain.targets)), parameters)
        memory.setdefault(epoch, forget)
        total = [0.05 * f + r for f, r in zip(forget, retain, strict=True)]
        inner, square = dot(total, memory[epoch]), dot(memory[epoch], memory[epoch])
        conflicts.append(inner < 0)
        share = max(0.2, -inner / square) if inner < 0 else 0.0
        decided = [t + share * m for t, m in zip(total, memory[epoch], strict=True)]
        assert dot(decided, memory[epoch]) > -1e-9
        move(parameters, decided, velocity, stage.optimizer, None)
    assert any(conflicts)
    assert_same(carried_out(method, network(), alike), slow)


def dot(first, second):
    return sum(float((a * b).sum().detach()) for a, b in zip(first, second, strict=True))


def convolutional():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 5, 2), nn.Flatten(), nn.Tanh(), nn.Linear(5, 3)
        ).double()


@pytest.mark.parametrize("make", [network, convolutional])
def test_msg_redraws_the_weights_that_neither_side_pulls(make):
    before, after = make(), make()
    recipe = MSG(fraction=0.4).recipe(seed=1)
    recipe.stages[1].mask.prepare(Predictor(after), SPLIT)
    run_recipe(Predictor(after), MethodRecipe(recipe.stages[:1]), SPLIT, RunOptions())
    positions = torch.randperm(26, generator=torch.Generator().manual_seed(1))[:11]
    retain = (SPLIT.retain.inputs[positions], SPLIT.retain.targets[positions])
    gap = ce(before, retain) - ce(before, (SPLIT.forget.inputs, SPLIT.forget.targets))
    slopes = torch.autograd.grad(gap, list(before.parameters()))
    layers = {"1.weight"} if make is convolutional else {"0.weight", "2.weight"}
    mask = recipe.stages[1].mask.get_mask()
    for (name, old), new, slope, steps in zip(before.named_parameters(), after.parameters(), slopes, mask, strict=True):
        smallest = torch.zeros(old.numel(), dtype=torch.bool)
        if name in layers:
            smallest[slope.abs().flatten().argsort()[: round(0.4 * old.numel())]] = True
        assert torch.equal((old != new).flatten(), smallest), name
        expected = torch.where(smallest, 1.0, 0.1) if name in layers else torch.ones(old.numel())
        torch.testing.assert_close(steps.flatten(), expected.double())


def test_msg_moves_what_it_kept_a_tenth_as_far():
    method = MSG(epochs=2, batch_size=26, lr=0.1, schedule="constant", fraction=0.3)
    redrawn, stage = method.recipe().stages
    stage.mask.prepare(Predictor(network()), SPLIT)
    slow = network()
    run_recipe(Predictor(slow), MethodRecipe((redrawn,)), SPLIT, RunOptions())
    slow_descent(
        slow,
        SPLIT,
        stage,
        lambda model, forget, retain, *_: ce(model, retain),
        settle=lambda sides: list(stage.mask.get_mask()),
    )
    assert_same(carried_out(method, network()), slow)


def test_gdr_gma_rectifies_both_sides_tensor_by_tensor():
    """Defects of public code: a weight that is always one half; a gradient rescaled where it should be projected."""
    surgery, past = RectifyBoth(sharpness=3.0, level=0.9, memory=2), []
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        f, r = ([torch.randn(6, generator=generator, dtype=torch.float64) for _ in range(3)] for _ in range(2))
        retain_loss = 1.2
        losses = Pair(parted(f, 0.0), parted(r, retain_loss))
        step = ToyStep([torch.zeros(6).double() for _ in range(3)], losses)
        surgery(step)
        surgery.after_step(step)
        weight = 1 / (1 + math.exp(3.0 * (retain_loss - 0.9)))
        for index, found in enumerate(step.decision):
            x = slow_rectified(f[index], r[index])
            against = [old[index] for old in past[-2:] if float(old[index] @ x) < 0]
            x = slow_rectified(x, sum(against) / len(against)) if against else x
            y = slow_rectified(r[index], f[index])
            torch.testing.assert_close(found, weight * x + (1 - weight) * y)
        past.append(f)


def parted(gradients, offset):
    return lambda pieces: offset + sum((g * p).sum() for g, p in zip(gradients, pieces, strict=True))


def slow_rectified(own, other):
    inner = float(own @ other)
    return own - inner / float(other @ other) * other if inner < 0 else own


def test_gdr_gma_method_descends_by_adamw():
    method = GDRGMA(
        epochs=2, batch_size=26, forget_batch_size=11, lr=0.01, memory=0, level=1.0, sharpness=2.0, max_grad_norm=None
    )
    slow = network()
    optimizer = torch.optim.AdamW(slow.parameters(), lr=0.01, weight_decay=0.01)
    for _ in range(2):
        forget = torch.autograd.grad(-ce(slow, (SPLIT.forget.inputs, SPLIT.forget.targets)), list(slow.parameters()))
        loss = ce(slow, (SPLIT.retain.inputs, SPLIT.retain.targets))
        retain = torch.autograd.grad(loss, list(slow.parameters()))
        weight = 1 / (1 + math.exp(2.0 * (loss.item() - 1.0)))
        for parameter, f, r in zip(slow.parameters(), forget, retain, strict=True):
            x, y = slow_rectified(f.flatten(), r.flatten()), slow_rectified(r.flatten(), f.flatten())
            parameter.grad = (weight * x + (1 - weight) * y).view(parameter.shape)
        optimizer.step()
    assert_same(carried_out(method, network()), slow)


# --- rewinding ------------------------------------------------------------------------------------------------------


def test_errors_are_weighted_to_the_classes_that_are_forgotten():
    forget = TensorExamples(torch.eye(3)[[0, 0, 0, 1]].double(), [0, 1, 0, 1])
    held = TensorExamples(torch.eye(3)[[0, 1, 1, 1, 1, 2]].double(), [0, 1, 1, 0, 1, 1])
    predict = Predictor(nn.Sequential(nn.Linear(3, 3, bias=False)).double())
    predict.model[0].weight.data = torch.eye(3).double()
    found = measure_errors(predict, Split(forget, forget, 3, held))
    assert found["forget"] == pytest.approx(1 / 4)
    assert found["held_out"] == pytest.approx(0.5 * 1 / 2 + 0.5 * 1 / 4)


def test_rewinding_takes_the_epoch_nearest_to_the_last_held_out_error_and_never_the_start():
    def readings(*pairs):
        return [{"forget": forget, "held_out": held_out} for forget, held_out in pairs]

    assert select_epoch(readings((0.5, 0.0), (0.1, 0.9), (0.4, 0.9), (0.9, 0.5))) == 2
    assert select_epoch(readings((0.0, 0.0), (0.2, 0.2), (0.2, 0.2))) == 2


def test_scrub_rewinds_to_one_of_its_epochs():
    settings = {"lr": 0.3, "batch_size": 8, "forget_batch_size": 4}
    plain = [carried_out(Scrub(epochs=count, max_epochs=2, **settings), network()) for count in (1, 2)]
    found = carried_out(ScrubRewind(epochs=2, max_epochs=2, **settings), network())
    with torch.no_grad():
        seen = [measure_errors(Predictor(model), SPLIT) for model in plain]
    distances = [abs(reading["forget"] - seen[-1]["held_out"]) for reading in seen]
    assert moved(found, plain[1 if distances[1] <= distances[0] else 0]) == 0


def test_rewinding_needs_held_out_examples():
    with pytest.raises(ObjectiveError, match="held-out examples"):
        carried_out(ScrubRewind(), network(), Split(SPLIT.forget, SPLIT.retain, 3))


# --- refusals -------------------------------------------------------------------------------------------------------


class Stubborn(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, dtype=torch.float64))

    def forward(self, logits):
        return logits * self.weight


def test_a_bad_teacher_cannot_be_made_of_a_model_that_cannot_be_reset():
    with pytest.raises(ModelError, match="Stubborn"):
        carried_out(BadTeacher(), nn.Sequential(network(), Stubborn()))


@pytest.mark.parametrize(
    "make",
    [
        lambda: SSD(selection=0.0),
        lambda: SSD(group=0),
        lambda: SSD(epochs=-1),
        lambda: Influence(damping=0.0),
        lambda: Influence(num_samples=0),
        lambda: Scrub(max_epochs=-1),
        lambda: SFROn(retain_per_forget=0),
        lambda: L1Sparse(epochs=0),
        lambda: ScissorHands(quantile=1.0),
        lambda: ScissorHands(last_fraction=0.0),
        lambda: MSG(fraction=0.0),
        lambda: MSG(slow_factor=1.5),
    ],
)
def test_bad_settings_end_in_one_sentence(make):
    with pytest.raises(ConfigError, match="Expected"):
        make()
