"""Whose statistics an update uses, and how often it moves them."""

import pytest
import torch
from small_networks import assert_same_buffers, batch, buffers, built, ce, flat, gradients, normalized, stepper, weights
from torch import nn

from expunge.objectives import CrossEntropy, RandomLabel
from expunge.pair import Pair
from expunge.surgery import EUPMUFastSurgery, EUPMUOfficialSurgery, EUPMUSurgery, Projection, Surgery, WeightedSum


class Inquisitive(Surgery):
    """Asks for everything there is, several times."""

    def forward(self, step):
        first, second = step.gradient("retain"), step.gradient("forget")
        step.loss("forget")
        with step.perturbed(first * -0.1):
            step.gradient("retain")
            step.loss("retain", independent=True)
        again = step.gradient("retain")
        torch.testing.assert_close(flat(again), flat(first), rtol=0, atol=1e-9)
        step.set_direction(second + again)

    def after_step(self, step):
        step.loss("retain", independent=True)
        step.gradient("retain")


EVERY = [
    WeightedSum,
    Projection,
    EUPMUSurgery,
    lambda: EUPMUSurgery(log_loss=True),
    EUPMUFastSurgery,
    lambda: EUPMUOfficialSurgery(initial_weight=1.0),
    Inquisitive,
]
NAMES = ["fixed", "unilateral", "implicit", "implicit log", "fast", "published", "inquisitive"]
every_surgery = pytest.mark.parametrize("make", EVERY, ids=NAMES)


def after_one_forward(*inputs):
    """Statistics after one forward pass over each of the inputs, in training mode."""
    model = normalized()
    for some in inputs:
        model(some)
    return buffers(model)


def updated(make, policy, forget, retain, probe=None):
    model = normalized()
    stepper(model, make(), batch_norm=policy)(forget, retain, probe)
    return model


@every_surgery
def test_frozen_never_moves_statistics(make):
    model = normalized()
    before = buffers(model)
    step = stepper(model, make())
    step(batch(0), batch(1), lambda: batch(2))
    model.train()  # as a user's own loop does after evaluating
    step(batch(0), batch(1))
    assert_same_buffers(model, before)


@every_surgery
def test_separate_moves_them_once_for_each_batch(make):
    model = updated(make, "separate", batch(0, 5), batch(1, 11), lambda: batch(2))
    names = {"inquisitive": (1, 0)}.get(NAMES[EVERY.index(make)], (0, 1))
    order = [(batch(0, 5), batch(1, 11))[index].inputs for index in names]
    expected = after_one_forward(*order)
    for name, value in model.named_buffers():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-12)


@every_surgery
def test_joint_moves_them_once_with_the_union(make):
    model = updated(make, "joint", batch(0, 5), batch(1, 11), lambda: batch(2))
    expected = after_one_forward(torch.cat([batch(0, 5).inputs, batch(1, 11).inputs]))
    for name, value in model.named_buffers():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-12)


def test_joint_is_one_forward_pass_split():
    model = normalized()
    forget, retain = batch(0, 5), batch(1, 11)
    logits = model(torch.cat([forget.inputs, retain.inputs]))
    loss = 0.4 * nn.functional.cross_entropy(logits[:5], forget.targets)
    loss = loss + 1.5 * nn.functional.cross_entropy(logits[5:], retain.targets)
    expected = weights(model) - 0.1 * flat(gradients(model, loss))
    ours = normalized()
    stepper(ours, WeightedSum(0.4, 1.5), lambda p: torch.optim.SGD(p, lr=0.1), batch_norm="joint")(forget, retain)
    torch.testing.assert_close(weights(ours), expected, rtol=0, atol=1e-12)


def test_joint_gradients_add_up_to_the_sums():
    """⟨explicit with weights (1, 1)⟩ = the gradient of the sum, although one forward pass mixes both halves."""

    class Sum(Surgery):
        def forward(self, step):
            step.set_direction(step.gradient("forget") + step.gradient("retain"))

    found = [weights(updated(make, "joint", batch(0, 5), batch(1, 11))) for make in (Sum, WeightedSum)]
    torch.testing.assert_close(*found, rtol=0, atol=1e-12)


@every_surgery
@pytest.mark.parametrize("size", [0, 2, 3])
def test_joint_takes_halves_of_unequal_numbers_of_parts(make, size):
    model = normalized()
    forget = batch(0, size) if size else None
    assert stepper(model, make(), batch_norm="joint", gradient_accumulation_steps=4)(forget, batch(1, 16)).stepped
    assert weights(model).isfinite().all()


def test_frozen_uses_the_originals_statistics():
    model = normalized()
    losses = stepper(model, WeightedSum())(batch(0), batch(1)).losses
    original = normalized().eval()
    torch.testing.assert_close(losses.forget, ce(original, batch(0)).float().detach())
    torch.testing.assert_close(losses.retain, ce(original, batch(1)).float().detach())


@every_surgery
def test_micro_batches_with_frozen_statistics(make):
    found = []
    for parts in (1, 3):
        model = normalized()
        step = stepper(model, make(), gradient_accumulation_steps=parts)
        for index in range(2):
            step(batch(index, 5), batch(index + 5, 11), lambda: batch(9, 7))
        found.append(weights(model))
    torch.testing.assert_close(*found, rtol=0, atol=1e-12)


def test_a_loop_that_evaluates_in_between_keeps_the_policy():
    """Dropout must come back after the user's ``eval`` and batch normalization must stay still after ``train``."""
    found = []
    for disturb in (lambda model: None, nn.Module.eval, nn.Module.train):
        model = normalized()
        model.append(nn.Dropout(0.3))
        step = stepper(model, WeightedSum())
        for _ in range(2):
            step(batch(0), batch(1))
            disturb(model)
        found.append((weights(model), flat(model.buffers())))
    for other in found[1:]:
        assert torch.equal(found[0][0], other[0])
        assert torch.equal(found[0][1], other[1])


def test_instance_normalization_that_tracks_is_frozen_too():
    def make():
        return nn.Sequential(
            nn.Unflatten(1, (2, 3)), nn.InstanceNorm1d(2, track_running_stats=True), nn.Flatten(), nn.Linear(6, 3)
        )

    model = built(make)
    before = buffers(model)
    stepper(model, Projection(), objectives=Pair(RandomLabel(), CrossEntropy()))(batch(0), batch(1))
    assert_same_buffers(model, before)
