"""Updates against loops written out by hand."""

from collections import namedtuple

import pytest
import torch
from small_networks import POLICIES, adamw, batch, ce, flat, gradients, mlp, noisy, sgd, stepper, weights
from torch import nn

from expunge.errors import ConfigError, DataError, NotFiniteError, ObjectiveError, SurgeryError
from expunge.objectives import CrossEntropy, NegativeCrossEntropy, RandomLabel
from expunge.pair import Pair
from expunge.surgery import (
    EUPMUFastSurgery,
    EUPMUOfficialSurgery,
    EUPMUSurgery,
    LinearCombination,
    Projection,
    Surgery,
    WeightedSum,
)

EVERY = [
    WeightedSum,
    Projection,
    EUPMUSurgery,
    lambda: EUPMUSurgery(log_loss=True),
    EUPMUFastSurgery,
    EUPMUOfficialSurgery,
]
NAMES = ["fixed", "unilateral", "implicit", "implicit log", "fast", "published"]
every_surgery = pytest.mark.parametrize("make", EVERY, ids=NAMES)


@pytest.mark.parametrize("optimise", [sgd, adamw], ids=["sgd", "adamw"])
def test_fixed_is_a_plain_loop_to_the_bit(optimise):
    ours, theirs = mlp(torch.float32), mlp(torch.float32)
    step, optimizer = stepper(ours, WeightedSum(0.3, 2.0), optimise), optimise(theirs.parameters())
    for index in range(5):
        forget, retain = batch(2 * index, 12, torch.float32), batch(2 * index + 1, 20, torch.float32)
        step(forget, retain)
        optimizer.zero_grad()
        (0.3 * ce(theirs, forget)).backward()
        (2.0 * ce(theirs, retain)).backward()
        optimizer.step()
    assert torch.equal(weights(ours), weights(theirs))


def by_hand(rule, steps=4, micro=None):
    """SGD on a direction that ``rule(g_f, g_r, L_f, L_r)`` gives, from plain gradients."""
    model = mlp()
    optimizer = sgd(model.parameters())
    for index in range(steps):
        losses = [ce(model, batch(2 * index, 5)), ce(model, batch(2 * index + 1, 11))]
        forget, retain = (gradients(model, loss) for loss in losses)
        first, second = rule(flat(forget), flat(retain), *(float(loss.detach()) for loss in losses))
        for parameter, f, r in zip(model.parameters(), forget, retain, strict=True):
            parameter.grad = (first * f + second * r).detach()
        optimizer.step()
    return weights(model)


def driven(surgery, steps=4, **options):
    model = mlp()
    step = stepper(model, surgery, **options)
    for index in range(steps):
        step(batch(2 * index, 5), batch(2 * index + 1, 11))
    return weights(model)


def projection(f, r, *_):
    return 1.0, max(0.0, -float(f @ r) / float(r @ r))


def test_unilateral_is_the_projection_of_plain_gradients():
    torch.testing.assert_close(driven(Projection()), by_hand(projection), rtol=0, atol=1e-12)


def test_log_form_is_the_gradient_of_the_logarithms():
    surgery = EUPMUSurgery(log_loss=True, initial_multiplier=0.7, dual_rate=0.0)
    c, multiplier = 1e-8, float(torch.tensor(0.7))
    expected = by_hand(lambda f, r, lf, lr: (1 / (lf + c), multiplier / (lr + c)))
    torch.testing.assert_close(driven(surgery), expected, rtol=0, atol=1e-12)


class Curved(Surgery):
    """A combination whose slopes depend on both losses."""

    def forward(self, step):
        step.backward(lambda forget, retain: (forget * retain).sqrt() + forget**2)


@pytest.mark.parametrize("policy", ["frozen", "joint"])
@pytest.mark.parametrize("parts", [2, 3, 7, 50])
@pytest.mark.parametrize("make", [*EVERY, Curved], ids=[*NAMES, "curved"])
def test_micro_batches_change_nothing(make, parts, policy):
    whole = driven(make(), steps=2)
    torch.testing.assert_close(
        driven(make(), 2, gradient_accumulation_steps=parts, batch_norm=policy), whole, rtol=0, atol=1e-12
    )


@every_surgery
def test_a_scaler_changes_nothing(make):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**9, growth_interval=2)
    torch.testing.assert_close(driven(make(), scaler=scaler), driven(make()), rtol=0, atol=1e-10)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("make", [lambda: WeightedSum(0.5, 1.0), Projection], ids=["fixed", "unilateral"])
def test_clipping_bounds_the_update_after_backward(make, scaled):
    """Defect: public code clips before the backward pass, which clips nothing."""
    rule = projection if make is Projection else lambda *_: (0.5, 1.0)
    model = mlp()
    forget, retain = batch(0), batch(1)
    f, r = (flat(gradients(model, ce(model, some))) for some in (forget, retain))
    first, second = rule(f, r)
    direction = first * f + second * r
    expected = weights(model) - 0.5 * 0.01 * direction / direction.norm()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**9) if scaled else None
    step = stepper(model, make(), lambda p: torch.optim.SGD(p, lr=0.5), max_grad_norm=0.01, scaler=scaler)
    step(forget, retain)
    torch.testing.assert_close(weights(model), expected, rtol=0, atol=1e-6)


def test_only_the_optimizers_weights_move_and_gather_gradients():
    model = mlp()
    before = weights(model[0])
    step = stepper(model, Projection(), lambda _: sgd(model[2].parameters()))
    mark = torch.ones_like(model[0].weight)
    model[0].weight.grad = mark
    for _ in range(2):
        step(batch(0), batch(1))
    assert torch.equal(weights(model[0]), before)
    assert model[0].weight.grad is mark
    assert torch.equal(mark, torch.ones_like(mark))
    assert model[0].bias.grad is None


def test_a_weight_that_no_loss_uses_stays():
    model = mlp()
    model.spare = nn.Parameter(torch.ones(3, dtype=torch.float64))
    model.forward = lambda inputs: model[2](model[1](model[0](inputs)))
    step = stepper(model, Projection(), lambda p: torch.optim.SGD(p, lr=0.1))
    row = step(batch(0), batch(1), log_gradients=True).row
    assert torch.equal(model.spare, torch.ones(3, dtype=torch.float64))
    assert row.isfinite().all()


Output = namedtuple("Output", "logits")


class Keywords(nn.Module):
    """Takes a mapping and returns an object with logits, as transformers models do."""

    def __init__(self, wrap=True):
        super().__init__()
        self.inner, self.wrap = mlp(), wrap

    def forward(self, left, right):
        found = self.inner(torch.cat([left, right], 1))
        return Output(found) if self.wrap else (found, "more")


def split_inputs(some):
    return {"left": some.inputs[:, :2], "right": some.inputs[:, 2:]}, some.targets


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("wrap", [True, False], ids=["attribute", "adapter"])
def test_mappings_and_wrapped_logits(policy, parts, wrap):
    model = Keywords(wrap)
    adapter = None if wrap else (lambda output: output[0])
    step = stepper(model, Projection(), batch_norm=policy, gradient_accumulation_steps=parts, logits=adapter)
    for index in range(2):
        step(split_inputs(batch(2 * index, 5)), split_inputs(batch(2 * index + 1, 11)))
    torch.testing.assert_close(weights(model), driven(Projection(), 2), rtol=0, atol=1e-12)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("parts", [1, 4])
@every_surgery
def test_an_empty_half_has_no_weight(make, policy, parts):
    """With SGD alone the other side's gradient decides, up to its weight; the explicit rule has g_f = 0 to keep."""
    for forget, retain in ((batch(0), None), (None, batch(1))):
        model = mlp()
        surgery = make()
        move = stepper(
            model, surgery, lambda p: torch.optim.SGD(p, lr=0.1), batch_norm=policy, gradient_accumulation_steps=parts
        )(forget, retain)
        moved = weights(mlp()) - weights(model)
        g = plain(forget or retain)
        assert move.stepped
        assert moved.isfinite().all()
        if moved.any():
            torch.testing.assert_close(moved / moved.norm(), g / g.norm(), rtol=0, atol=1e-7)
        else:
            assert forget is None


def plain(some):
    model = mlp()
    return flat(gradients(model, ce(model, some)))


def test_no_example_at_all_is_refused():
    step = stepper(mlp(), WeightedSum())
    for forget, retain in ((None, None), (batch(0).slice(0, 0), None)):
        with pytest.raises(DataError, match="a forget batch, a retain batch or both"):
            step(forget, retain)


@pytest.mark.parametrize(
    "options",
    [{"max_grad_norm": 0.0}, {"max_grad_norm": -1.0}, {"gradient_accumulation_steps": 0}, {"batch_norm": "none"}],
)
def test_bad_settings_are_refused(options):
    with pytest.raises(ConfigError):
        stepper(mlp(), WeightedSum(), **options)


class Never(Surgery):
    def forward(self, step):
        step.gradient("retain")


class Twice(Surgery):
    def forward(self, step):
        step.backward(LinearCombination(1.0, 1.0))
        step.set_direction(step.gradient("retain"))


@pytest.mark.parametrize(("surgery", "count"), [(Never(), 0), (Twice(), 2)])
def test_one_decision_or_nothing_moves(surgery, count):
    model = mlp()
    with pytest.raises(SurgeryError, match=f"{count} decisions"):
        stepper(model, surgery)(batch(0), batch(1))
    assert torch.equal(weights(model), weights(mlp()))


@pytest.mark.parametrize(
    "surgery", [EUPMUSurgery(log_loss=True), EUPMUOfficialSurgery("log")], ids=["log", "published"]
)
def test_ascent_under_logarithms_is_refused_before_anything_moves(surgery):
    model = mlp()
    with pytest.raises(ObjectiveError, match="losses ≥ 0"):
        stepper(model, surgery, objectives=Pair(NegativeCrossEntropy(), CrossEntropy()))(batch(0), batch(1))
    assert torch.equal(weights(model), weights(mlp()))


def test_nan_at_the_first_batch_is_refused_before_anything_moves():
    model, broken = mlp(), batch(0)
    broken.inputs[3, 2] = torch.nan
    step = stepper(model, WeightedSum())
    with pytest.raises(NotFiniteError, match="before anything was changed"):
        step(broken, batch(1))
    assert torch.equal(weights(model), weights(mlp()))
    assert not step.optimizer.state


def test_random_labels_need_no_preparation():
    """The head says how many classes there are, not the labels that a batch happens to show."""
    model = mlp()
    objective = RandomLabel()
    only_zeros = batch(0, 300)
    only_zeros.targets.zero_()
    labels = objective.sample_labels(objective.sample(only_zeros, 0, torch.Generator()), 3)
    assert set(labels.tolist()) == {0, 1, 2}
    expected = nn.functional.cross_entropy(model(only_zeros.inputs), labels)
    move = stepper(model, WeightedSum(), objectives=Pair(objective, CrossEntropy()))(only_zeros, batch(1))
    torch.testing.assert_close(move.losses.forget, expected.float().detach())


def test_the_callers_random_numbers_are_left_alone():
    model = noisy()
    step = stepper(model, EUPMUSurgery(), objectives=Pair(RandomLabel(), CrossEntropy()), gradient_accumulation_steps=2)
    before = torch.get_rng_state()
    step(batch(0), batch(1), validation_batch=lambda: batch(2))
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_decide_the_dropout():
    def run(seed):
        model = noisy()
        step = stepper(model, WeightedSum(), seed=seed)
        for _ in range(3):
            step(batch(0), batch(1))
        return weights(model)

    assert torch.equal(run(4), run(4))
    assert not torch.equal(run(4), run(5))


def test_a_rate_of_zero_teaches_the_dual_nothing():
    surgery = EUPMUSurgery(initial_multiplier=0.5)
    stepper(mlp(), surgery, lambda p: torch.optim.SGD(p, lr=0.0))(batch(0), batch(1))
    assert float(surgery.multiplier) == 0.5


@pytest.mark.parametrize("make", [WeightedSum, Projection], ids=["fixed", "unilateral"])
def test_bf16_is_autocast_around_the_losses(make):
    """Against a loop with autocast around each half's forward pass; the rule itself is computed in full."""
    ours, theirs = mlp(torch.float32), mlp(torch.float32)
    forget, retain = batch(0, dtype=torch.float32), batch(1, dtype=torch.float32)
    pieces = []
    for some in (forget, retain):
        with torch.autocast("cpu", torch.bfloat16):
            loss = ce(theirs, some)
        pieces.append(flat(gradients(theirs, loss)))
    f, r = pieces
    expected = weights(theirs) - 0.1 * (f + (projection(f.double(), r.double())[1] if make is Projection else 1.0) * r)
    stepper(ours, make(), lambda p: torch.optim.SGD(p, lr=0.1), precision="bf16")(forget, retain)
    torch.testing.assert_close(weights(ours), expected, rtol=0, atol=1e-7)
    assert (expected - weights(theirs)).abs().max() > 1e-3
