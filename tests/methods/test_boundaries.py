"""Methods that move boundaries, and one that draws weights back, against slow paths."""

import copy

import pytest
import torch
from flat_calls import flat_unlearn
from slow_descent import slow_descent
from torch import nn
from torch.nn import functional

from expunge.batch import Predictor, Split
from expunge.data import TensorExamples
from expunge.engine import RunOptions, run_recipe
from expunge.errors import ConfigError, ModelError, NotFiniteError, ObjectiveError
from expunge.masks import SoftThreshold
from expunge.methods import BoundaryExpand, BoundaryShrink, SalUnSoft
from expunge.methods.boundary_expand import add_class, remove_class
from expunge.objectives import NearestWrongLabel, RandomLabel


def examples(seed, size):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(size, 4, generator=generator, dtype=torch.float64) * 6 - 2
    return TensorExamples(inputs, torch.randint(0, 3, (size,), generator=generator))


SPLIT = Split(examples(0, 11), examples(1, 26), 3)


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def carried_out(method, model, data=SPLIT, on_step=None):
    work = copy.deepcopy(model)
    watch = {"on_step": on_step(work)} if on_step else {}
    run_recipe(Predictor(work), method.recipe(), data, RunOptions(**watch))
    return work


def assert_same(first, second):
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def slow_labels(original, inputs, targets, bound):
    """One example at a time: a step of the original's gradient sign, then the best of the wrong classes."""
    low, high = float(SPLIT.forget.inputs.min()), float(SPLIT.forget.inputs.max())
    found = []
    for x, y in zip(inputs, targets, strict=True):
        variable = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(functional.cross_entropy(original(variable[None]), y[None]), [variable])
        scores = original((x + bound * (high - low) * slope.sign()).clamp(low, high)[None])[0].tolist()
        found.append(max((c for c in range(3) if c != int(y)), key=scores.__getitem__))
    return torch.tensor(found)


@pytest.mark.parametrize("bound", [0.01, 0.1, 0.6])
def test_labels_are_those_beyond_the_nearest_boundary(bound):
    objective, original = NearestWrongLabel(bound), network()
    objective.prepare(Predictor(original), SPLIT)
    batch = SPLIT.forget.batch(torch.arange(11))
    labels = objective.sample(batch, 0, torch.Generator()).extras["labels"]
    assert torch.equal(labels, slow_labels(original, batch.inputs, batch.targets, bound))
    assert not (labels == batch.targets).any()
    assert len(set(labels.tolist())) > 1


def test_boundary_shrink_trains_towards_them():
    method, original, slow = BoundaryShrink(epochs=3, lr=0.1, batch_size=4), network(), network()

    def loss(model, forget, retain, epoch, share):
        assert retain is None
        return functional.cross_entropy(model(forget[0]), slow_labels(original, *forget, 0.1))

    slow_descent(slow, SPLIT, method.recipe().stages[0], loss)
    assert_same(carried_out(method, original), slow)


def test_inputs_that_cannot_be_moved_are_refused():
    whole = TensorExamples(torch.randint(0, 9, (6, 4)), [0, 1, 2, 0, 1, 2])
    with pytest.raises(ObjectiveError, match=r"found torch.int64"):
        NearestWrongLabel().prepare(Predictor(network()), Split(whole, whole, 3))
    named = TensorExamples({"pixels": torch.rand(6, 4)}, [0, 1, 2, 0, 1, 2])
    with pytest.raises(ObjectiveError, match="found dict"):
        NearestWrongLabel().prepare(Predictor(network()), Split(named, named, 3))


def test_expanding_and_shrinking_keep_every_class():
    model, before = network(), network()
    with torch.no_grad():
        add_class(Predictor(model), SPLIT)
        assert model(SPLIT.forget.inputs).shape == (11, 4)
        torch.testing.assert_close(model(SPLIT.forget.inputs)[:, :3], before(SPLIT.forget.inputs))
        remove_class(Predictor(model), SPLIT)
    for name, value in before.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_boundary_expand_is_training_towards_an_added_class():
    method, slow, met = BoundaryExpand(epochs=3, lr=0.2, batch_size=4), network(), set()
    found = carried_out(method, network(), on_step=lambda work: lambda _: met.add(work[2].out_features))
    assert met == {4}
    assert found[2].out_features == 3
    # The engine draws the new neuron from its own seed, that of the first stage.
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        add_class(Predictor(slow), SPLIT)

    def loss(model, forget, retain, epoch, share):
        return -model(forget[0]).log_softmax(1)[:, 3].mean()

    slow_descent(slow, SPLIT, method.recipe().stages[1], loss)
    for old, new in zip(slow.parameters(), found.parameters(), strict=True):
        torch.testing.assert_close(old[: len(new)], new, rtol=0, atol=1e-9)
    side = (SPLIT.forget.inputs, SPLIT.forget.targets)
    before, after = (functional.cross_entropy(model(side[0]), side[1]).item() for model in (network(), found))
    assert after > before


def test_a_model_without_a_head_of_its_classes_is_refused_unchanged():
    model = nn.Sequential(nn.Linear(4, 5), nn.Unflatten(1, (5, 1)), nn.MaxPool2d((3, 1), 1), nn.Flatten()).double()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ModelError, match="a linear layer with 3 outputs"):
        run_recipe(Predictor(model), BoundaryExpand().recipe(), SPLIT, RunOptions())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_failure_in_place_takes_the_expanded_head_back():
    model = network()
    before, head = copy.deepcopy(model.state_dict()), model[2]
    options = {"epochs": 3, "lr": 1e200, "weight_decay": 5e-4, "inplace": True}
    with pytest.raises(NotFiniteError):
        flat_unlearn(model, forget=SPLIT.forget, retain=SPLIT.retain, method="be", **options)
    assert model[2] is head
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# --- SalUn, soft ----------------------------------------------------------------------------------------------------


def test_soft_salun_is_proximal_descent():
    method, original, slow = SalUnSoft(epochs=2, lr=0.1, batch_size=4, momentum=0.0, fraction=0.8), network(), network()
    labels, total, done = RandomLabel(), 2 * -(-37 // 8), []
    start = [parameter.detach().clone() for parameter in original.parameters()]

    def relabeled(forget, epoch):
        positions = torch.tensor([int((SPLIT.forget.inputs == x).all(1).nonzero()) for x in forget[0]])
        return labels.sample_labels(labels.sample(SPLIT.forget.batch(positions), epoch, torch.Generator()), 3)

    def loss(model, forget, retain, epoch, share):
        draw_back(model, start, len(done), total)
        done.append(share)
        pairs = [(forget[0], relabeled(forget, epoch))] if forget is not None else []
        pairs += [retain] if retain is not None else []
        summed = sum(functional.cross_entropy(model(x), y, reduction="sum") for x, y in pairs)
        return summed / sum(len(y) for _, y in pairs)

    slow_descent(slow, SPLIT, method.recipe().stages[0], loss)
    draw_back(slow, start, total, total)
    assert len(done) == total
    assert_same(carried_out(method, original), slow)


@torch.no_grad()
def draw_back(model, start, done, total):
    """What follows update number ``done`` - 1: soft thresholds, coordinate by coordinate."""
    if not done:
        return
    gaps = [(p - s).flatten().tolist() for p, s in zip(model.parameters(), start, strict=True)]
    ranked = sorted(abs(gap) for piece in gaps for gap in piece)
    count = int(0.8 * (1 - done / total) * len(ranked))
    threshold = ranked[count - 1] if count else 0.0
    for parameter, first, piece in zip(model.parameters(), start, gaps, strict=True):
        moved = [max(abs(gap) - threshold, 0.0) * (1 if gap > 0 else -1) for gap in piece]
        parameter.copy_(first + torch.tensor(moved, dtype=first.dtype).view(first.shape))


def test_the_stated_share_of_weights_is_the_originals_to_the_bit():
    original, shares = network(), []
    start = torch.cat([p.detach().flatten() for p in original.parameters()])

    def watch(work):
        return lambda _: shares.append(int((torch.cat([p.flatten() for p in work.parameters()]) == start).sum()))

    carried_out(SalUnSoft(epochs=2, lr=0.1, batch_size=4, fraction=0.8), original, on_step=watch)
    assert shares == [int(0.8 * (1 - (step + 1) / 10) * len(start)) for step in range(10)]


def test_bad_settings_are_refused():
    with pytest.raises(ConfigError, match="share of weights"):
        SoftThreshold(1.5)
    with pytest.raises(ObjectiveError, match="bound > 0"):
        NearestWrongLabel(0.0)
