"""Further batches: which they are, what is computed on them, and what masks make of it in an update."""

import json
import math
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import (
    POLICIES,
    adamw,
    assert_same_buffers,
    batch,
    buffers,
    ce,
    flat,
    gradients,
    mlp,
    noisy,
    normalized,
    sgd,
    stepper,
    weights,
)

from expunge import registry
from expunge.batch import Predictor, Split
from expunge.data import PairSampler, TensorExamples
from expunge.engine import OptimizerConfig, RunOptions, StageRunner, TrainStage
from expunge.errors import ConfigError, DataError, NotFiniteError
from expunge.masks import (
    FeasibleMask,
    KeepIfHarmless,
    KeepUnlessHarmful,
    Knapsack,
    ProbabilisticAgreement,
    SequentialTest,
    SignAgreement,
)
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.pair import Pair
from expunge.surgery import EUPMUSurgery, LURSurgery, RobustProjection, WeightedSum

MODES = ("paired", "mixed", "forget", "retain", "blocks", "interleaved")
MASKS = {name: entry.target for name, entry in registry.list_entries("masks").items()}


def more(of, number, dtype=torch.float64):
    return batch(100 + 2 * number + (of == "retain"), 9, dtype)


def all_further(stream, epoch, step, of):
    found = []
    while len(positions := stream.extra_indices(epoch, step, of, len(found))):
        found.append(positions)
    return found


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 8), st.integers(0, 3), st.data())
def test_further_retain_batches_are_disjoint_from_everything(mode, size, width, seed, data):
    stream = PairSampler(Pair(11, size), Pair(3, width), mode, seed)
    epoch, step = data.draw(st.integers(0, 2)), data.draw(st.integers(0, len(stream) - 1))
    draw, found = stream.sample(epoch, step), all_further(stream, epoch, step, "retain")
    used = set(draw.retain.tolist()) | set(draw.next_retain_half.tolist())
    rest = size - len(used)
    width = min(width, max(1, rest // 16))
    assert len(found) == rest // width
    row = torch.cat([*found, torch.empty(0, dtype=torch.int64)]).tolist()
    assert len(row) == len(set(row)) == len(found) * width
    assert not used & set(row)


def test_further_batches_are_a_function_of_seed_and_update():
    def make(seed=3):
        return PairSampler(Pair(20, 50), Pair(4, 6), "paired", seed)

    straight = make()
    for epoch, step in [(0, 0), (0, 5), (1, 2)]:
        for of in ("forget", "retain"):
            assert make().extra_indices(epoch, step, of, 2).equal(straight.extra_indices(epoch, step, of, 2))
            assert not straight.extra_indices(epoch, step, of, 0).equal(straight.extra_indices(epoch, step + 1, of, 0))
            assert not straight.extra_indices(epoch, step, of, 0).equal(make(4).extra_indices(epoch, step, of, 0))


def test_every_retain_example_is_drawn_equally_often():
    stream = PairSampler(Pair(5, 40), Pair(2, 5), "paired", 0)
    seen = torch.zeros(40)
    for epoch in range(100):
        for step in range(len(stream)):
            seen[stream.extra_indices(epoch, step, "retain", 0)] += 1
    expected = float(seen.mean())
    assert float((seen - expected).abs().max()) < 5 * math.sqrt(expected)


def test_further_forget_batches_come_from_the_whole_set():
    stream = PairSampler(Pair(9, 30), Pair(4, 5), "paired", 0)
    found = [stream.extra_indices(0, 1, "forget", number) for number in range(40)]
    assert all(len(one) == len(one.unique()) == 4 for one in found)
    assert len(torch.cat(found).unique()) == 9
    small = PairSampler(Pair(3, 30), Pair(4, 5), "paired", 0).extra_indices(0, 0, "forget", 7)
    assert sorted(small.tolist()) == [0, 1, 2]


def lent(model, surgery=None, further=more, **options):
    return stepper(model, surgery or WeightedSum(), **options).make_step(batch(0), batch(1), None, None, True, further)


@pytest.mark.parametrize(
    "options", [{}, {"gradient_accumulation_steps": 3}, {"scaler": 64.0}], ids=["plain", "parts", "scaler"]
)
@pytest.mark.parametrize("policy", POLICIES)
def test_further_gradients_are_plain_ones(policy, options):
    if "scaler" in options:
        options = {"scaler": torch.amp.GradScaler("cpu", init_scale=options["scaler"])}
    model = mlp()
    step = lent(model, batch_norm=policy, **options)
    for number, found in enumerate(step.extra_gradients("retain", 3)):
        expected = flat(gradients(model, ce(model, more("retain", number))))
        torch.testing.assert_close(flat(found), expected, rtol=1e-6, atol=1e-9)
    (forget,) = step.extra_gradients("forget", 1)
    torch.testing.assert_close(flat(forget), flat(gradients(model, ce(model, more("forget", 0)))), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("policy", POLICIES)
def test_further_gradients_disturb_nothing(policy):
    model = normalized()
    step = lent(model, batch_norm=policy)
    held = [torch.full_like(p, 7.0) for p in model.parameters()]
    for parameter, gradient in zip(model.parameters(), held, strict=True):
        parameter.grad = gradient
    before, state = buffers(model), torch.get_rng_state()
    with torch.no_grad():
        list(step.extra_gradients("retain", 2))
    assert_same_buffers(model, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is g and bool((g == 7).all()) for p, g in zip(model.parameters(), held, strict=True))


def test_no_batch_is_lent_twice_whoever_asks():
    asked = []

    def fetch(of, number):
        asked.append((of, number))
        return more(of, number) if number < 4 else None

    step = lent(mlp(), further=fetch)
    assert [len(list(step.extra_gradients("retain", count))) for count in (2, 1, 3, 1)] == [2, 1, 1, 0]
    assert [number for of, number in asked if of == "retain"][:4] == [0, 1, 2, 3]
    assert len(list(step.extra_gradients("forget", 2))) == 2


def test_dropout_differs_between_batches_and_repeats_for_a_seed():
    same = lambda of, number: batch(5)  # noqa: E731
    first, again = ([flat(g) for g in lent(noisy(), further=same).extra_gradients("retain", 2)] for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], first[1])


def test_an_overflow_under_the_scaler_is_repeated_at_a_smaller_scale():
    class Steep(CrossEntropy):
        def __call__(self, model, batch):
            return super().__call__(model, batch) * 1e3

    model = mlp(torch.float32)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120)
    made = stepper(model, WeightedSum(), objectives=Pair(Steep(), Steep()), scaler=scaler)
    step = made.make_step(batch(0), batch(1), None, None, True, lambda of, k: more(of, k, torch.float32))
    (found,) = step.extra_gradients("retain", 1)
    expected = 1e3 * flat(gradients(model, ce(model, more("retain", 0, torch.float32))))
    torch.testing.assert_close(flat(found), expected, rtol=1e-4, atol=1e-4)


def test_a_further_gradient_that_is_used_up_is_gone_before_the_next_is_computed():
    model, alive = mlp(), []

    def supply(of, number):
        alive.append(sum(one() is not None for one in given))
        return more(of, number)

    given = []
    step = stepper(model, WeightedSum()).make_step(batch(0), batch(1), None, None, False, supply)
    for gradient in step.extra_gradients("retain", 3):
        given.append(weakref.ref(gradient.pieces[0]))
        del gradient
    assert alive == [0, 0, 0]


def test_a_mask_that_needs_further_batches_says_so_before_anything_moves():
    model = mlp()
    step = stepper(model, WeightedSum(), mask=KeepUnlessHarmful())
    with pytest.raises(ConfigError, match="extra_batches="):
        step(batch(0), batch(1))
    assert torch.equal(weights(model), weights(mlp()))


def quick(make):
    """A mask of the smallest cost, of any kind."""
    if make is SequentialTest:
        return SequentialTest(KeepUnlessHarmful(initial_batches=2), delta=0.45, test_batches=2)
    return make(refresh_every=2, initial_batches=3) if issubclass(make, FeasibleMask) else make()


def data(forget=8, retain=60, dtype=torch.float32):
    sides = [TensorExamples(b.inputs, b.targets) for b in (batch(0, forget, dtype), batch(1, retain, dtype))]
    return Split(*sides, 3)


def descended(surgery, mask, split=None, model=None, epochs=1, read_every=4, mode="paired", **optimizer):
    split, model, rows = split or data(), model or mlp(torch.float32), []
    pair = Pair(RandomLabel(), CrossEntropy())
    settings = {"lr": 0.1, "max_grad_norm": 1.0} | optimizer
    stage = TrainStage(pair, surgery, OptimizerConfig(**settings), epochs, Pair(4, 6), mode, mask)
    if mask is not None:
        mask.prepare(Predictor(model), split)
    StageRunner(Predictor(model), stage, split, RunOptions(on_log=rows.extend, log_every=read_every)).run()
    return model, rows


@pytest.mark.parametrize("make", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("surgery", [WeightedSum, EUPMUSurgery, LURSurgery, RobustProjection])
def test_every_mask_runs_and_says_what_it_has_to_say(surgery, make):
    mask = quick(make)
    model, rows = descended(surgery(), mask)
    assert len(rows) == 10
    assert weights(model).isfinite().all()
    columns = set(rows[0]) - {
        "step",
        "epoch",
        "forget_loss",
        "retain_loss",
        "cosine",
        "multiplier",
        "projected_fraction",
    }
    feasible = {"mask_density"} if issubclass(make, FeasibleMask) else set()
    wanted = {"mask_density", "certified", "level", "bound"} if make is SequentialTest else feasible
    assert columns == wanted
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    if wanted:
        assert all(0 <= row["mask_density"] <= 1 for row in rows)


class Witness:
    """Wraps a mask's choice to remember what it passed."""

    def __init__(self, mask):
        self.passed, plain = [], mask.compute
        mask.compute = lambda displacement, step: self.note(plain(displacement, step))

    def note(self, chosen):
        self.passed.append([piece.clone() for piece in chosen])
        return chosen


@pytest.mark.parametrize("optimise", [sgd, adamw], ids=["sgd", "adamw"])
@pytest.mark.parametrize(
    "make", [KeepIfHarmless, KeepUnlessHarmful, ProbabilisticAgreement, Knapsack, SignAgreement, SequentialTest]
)
def test_what_does_not_pass_stays_to_the_bit(make, optimise):
    model, mask = mlp(torch.float32), quick(make)
    witness, step = Witness(mask), stepper(model, WeightedSum(), optimise, mask=mask)
    still = 0
    for index in range(6):
        before = [p.detach().clone() for p in model.parameters()]
        further = lambda of, k, base=index: batch(1000 * base + 2 * k + (of == "retain") + 50, dtype=torch.float32)  # noqa: E731
        step(batch(index, dtype=torch.float32), batch(index + 9, dtype=torch.float32), extra_batches=further)
        for old, new, passed in zip(before, model.parameters(), witness.passed[-1], strict=True):
            assert torch.equal(new[~passed], old[~passed])
            still += int((~passed).sum())
            if make is not SequentialTest:
                assert (new[passed] != old[passed]).float().mean() > 0.9 if passed.any() else True
    assert still > 0


def test_the_certificate_is_of_the_weights_before_the_step():
    """The gradients it weighs are those at θ, to rounding, although the optimizer has moved to θ⁺."""
    model, seen = mlp(), []

    class Look(CrossEntropy):
        def __call__(self, predict, batch):
            seen.append(weights(model))
            return super().__call__(predict, batch)

    mask = SequentialTest(KeepUnlessHarmful(initial_batches=2), test_batches=2)
    step = stepper(model, WeightedSum(), objectives=Pair(CrossEntropy(), Look()), mask=mask)
    before = weights(model)
    step(batch(0), batch(1), extra_batches=more)
    assert len(seen) == 2 + 2 + 2  # the first look and the update; the mask's batches; the certificate's
    for found in seen:
        torch.testing.assert_close(found, before, rtol=0, atol=1e-12)


def test_a_certificate_uses_other_batches_than_its_mask():
    asked = []
    step = stepper(mlp(), WeightedSum(), mask=SequentialTest(KeepUnlessHarmful(initial_batches=3), test_batches=4))
    step(batch(0), batch(1), extra_batches=lambda of, k: asked.append((of, k)) or more(of, k))
    assert asked == [("retain", number) for number in range(7)]


def test_verdicts_of_each_update_are_in_the_history():
    mask = SequentialTest(KeepUnlessHarmful(initial_batches=2), delta=0.2, test_batches=3, test_every=2)
    _, rows = descended(WeightedSum(), mask, epochs=2)
    tested = [row["step"] for row in rows if row["certified"] is not None]
    assert tested == list(range(0, 20, 2))
    for row in rows[::2]:
        assert row["certified"] == (row["level"] > 0)
        assert row["certified"] == (row["bound"] >= 0)
        assert row["certified"] or row["mask_density"] == 0
    assert {row["certified"] for row in rows[::2]} >= {1.0}


def test_without_a_mask_the_history_is_as_it_was():
    _, rows = descended(WeightedSum(), None)
    assert set(rows[0]) == {"step", "epoch", "forget_loss", "retain_loss", "cosine", "multiplier", "projected_fraction"}


def test_gradient_ascent_on_forget_batches_alone_is_guarded_by_retain_batches():
    mask = KeepUnlessHarmful(initial_batches=3, refresh_every=1)
    _, rows = descended(WeightedSum(1.0, 0.0), mask, mode="forget", epochs=3)
    assert mask.get_moments("retain").count == 3 + len(rows) - 1
    assert all(row["retain_loss"] is None for row in rows)


def test_one_seed_gives_one_masked_result():
    first, second = (
        descended(WeightedSum(), SequentialTest(ProbabilisticAgreement(initial_batches=3), 0.4, test_batches=3))
        for _ in range(2)
    )
    assert torch.equal(weights(first[0]), weights(second[0]))
    assert first[1] == second[1]


def test_a_retain_set_without_further_batches_ends_before_anything_moves():
    model = mlp(torch.float32)
    with pytest.raises(DataError, match="smaller retain batch"):
        descended(WeightedSum(), KeepUnlessHarmful(), data(8, 7), model)
    assert torch.equal(weights(model), weights(mlp(torch.float32)))


def test_nan_on_a_further_batch_ends_the_run():
    class Broken(CrossEntropy):
        calls = 0

        def __call__(self, model, batch):
            Broken.calls += 1
            return super().__call__(model, batch) * (math.nan if len(batch) == 9 else 1)

    step = stepper(mlp(), WeightedSum(), objectives=Pair(CrossEntropy(), Broken()), mask=KeepUnlessHarmful())
    assert float(step(batch(0), batch(1), extra_batches=more).row[-1]) == 0.0
    split = data(8, 60)
    split.retain.inputs[40:] = torch.nan
    with pytest.raises(NotFiniteError):
        descended(WeightedSum(), KeepUnlessHarmful(), split)


def test_the_budget_of_memory_is_kept():
    mask = KeepUnlessHarmful(bf16=True)
    descended(WeightedSum(), mask)
    held = sum(b.numel() * b.element_size() for b in mask.buffers())
    assert held == sum(p.numel() * p.element_size() for p in mlp(torch.float32).parameters())
    assert isinstance(mask, FeasibleMask)
