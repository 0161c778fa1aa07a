"""One descent stage from its stream to its history, and what ends it."""

import json

import pytest
import torch
from small_networks import batch, mlp, normalized, weights
from torch import nn

from expunge.batch import Batch, Predictor, Split
from expunge.data import TensorExamples
from expunge.engine import EditStage, MethodRecipe, OptimizerConfig, RunOptions, StageRunner, TrainStage, run_recipe
from expunge.errors import ModelError, NotFiniteError, ObjectiveError
from expunge.objectives import CrossEntropy, NegativeCrossEntropy, Objective, RandomLabel
from expunge.pair import Pair
from expunge.surgery import EUPMUOfficialSurgery, EUPMUSurgery, Projection, WeightedSum


def split(forget=7, retain=26, dtype=torch.float64):
    sides = [TensorExamples(b.inputs, b.targets) for b in (batch(0, forget, dtype), batch(1, retain, dtype))]
    return Split(*sides, 3)


def stage(surgery=None, epochs=2, mode="paired", objectives=None, **optimizer):
    pair = objectives or Pair(RandomLabel(), CrossEntropy())
    settings = {"lr": 0.1, "max_grad_norm": 1.0} | optimizer
    return TrainStage(pair, surgery or Projection(), OptimizerConfig(**settings), epochs, Pair(4, 8), mode)


def run(the_stage=None, model=None, data=None, **conditions):
    model, rows = model or mlp(), []
    StageRunner(
        Predictor(model), the_stage or stage(), data or split(), RunOptions(on_log=rows.extend, **conditions)
    ).run()
    return model, rows


def test_history_is_complete_in_order_and_json():
    calls = []
    _, rows = run(log_every=3, log_gradients_every=2, on_step=calls.append)
    assert [row["step"] for row in rows] == list(range(8))
    assert [row["epoch"] for row in rows] == [0] * 4 + [1] * 4
    assert [(p.step, p.total, p.epoch) for p in calls] == [(n, 8, n // 4) for n in range(8)]
    assert [row["cosine"] is not None for row in rows] == [True, False] * 4
    assert all(row["forget_loss"] > 0 and row["retain_loss"] > 0 for row in rows)
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


def test_observing_never_and_always_leaves_the_weights():
    found = [weights(run(log_gradients_every=every, log_every=every + 1)[0]) for every in (0, 1, 3)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("mode", ["paired", "mixed"])
@pytest.mark.parametrize("policy", ["frozen", "joint", "separate"])
def test_one_seed_gives_one_result(mode, policy):
    def final(seed, forget=7):
        model, rows = run(stage(EUPMUSurgery(), mode=mode), normalized(), split(forget), seed=seed, batch_norm=policy)
        return weights(model), rows

    (first, rows), (again, same_rows), (other, _) = final(3, 8), final(3, 8), final(4, 8)
    assert torch.equal(first, again)
    assert rows == same_rows
    assert not torch.equal(first, other)


class Diary(CrossEntropy):
    """Notes which examples each update used."""

    def __init__(self):
        self.pages = []

    def sample(self, batch, epoch, generator):
        self.pages.append((epoch, batch.indices.tolist()))
        return batch


@pytest.mark.parametrize(("mode", "side", "size"), [("forget", 0, 7), ("retain", 1, 26), ("paired", 1, 26)])
def test_an_epoch_passes_once_over_the_data(mode, side, size):
    """Defect: public code draws the first batch of a freshly shuffled loader at every step."""
    objectives = Pair(Diary(), Diary())
    surgery = {"forget": WeightedSum(1.0, 0.0), "retain": WeightedSum(0.0, 1.0), "paired": WeightedSum()}[mode]
    run(stage(surgery, mode=mode, objectives=objectives))
    for epoch in (0, 1):
        met = [index for e, page in objectives[side].pages for index in page if e == epoch]
        assert sorted(met) == list(range(size))
    assert objectives[1 - side].pages if mode == "paired" else not objectives[1 - side].pages


def test_paired_forgetting_cycles_through_whole_passes():
    objectives = Pair(Diary(), Diary())
    run(stage(WeightedSum(), epochs=7, objectives=objectives))
    met = [index for _, page in objectives.forget.pages for index in page]
    assert len(met) == 28 * 4
    assert sorted(met) == sorted(16 * list(range(7)))


def test_nan_at_the_first_batch_ends_before_anything_moves():
    data = split()
    data.retain.inputs[:] = torch.nan
    model, rows = mlp(), []
    with pytest.raises(NotFiniteError, match="first batch, before anything was changed"):
        run(model=model, data=data, on_step=rows.append)
    assert torch.equal(weights(model), weights(mlp()))
    assert rows == []


class Later(CrossEntropy):
    """An ordinary loss that becomes NaN at an update."""

    def __init__(self, at):
        self.at, self.updates = at, 0

    def sample(self, batch, epoch, generator):
        self.updates += 1
        return batch

    def __call__(self, model, batch):
        return super().__call__(model, batch) * (torch.nan if self.updates > self.at else 1.0)


@pytest.mark.parametrize("read_every", [1, 3, 100])
def test_nan_later_names_the_update_and_hands_on_the_history(read_every):
    rows, pair = [], Pair(CrossEntropy(), Later(5))
    made = StageRunner(
        Predictor(mlp()),
        stage(WeightedSum(), objectives=pair),
        split(),
        RunOptions(on_log=rows.extend, log_every=read_every),
    )
    with pytest.raises(NotFiniteError, match="at update 5"):
        made.run()
    assert [row["retain_loss"] is None for row in rows[:6]] == [False] * 5 + [True]


class Steep(CrossEntropy):
    def __call__(self, model, batch):
        return 1e6 * super().__call__(model, batch)


def test_weights_that_break_at_the_last_update_are_noticed():
    steep = stage(WeightedSum(), epochs=1, objectives=Pair(Steep(), Steep()), lr=1e38, max_grad_norm=None)
    with pytest.raises(NotFiniteError, match="after the last update"):
        run(steep, mlp(torch.float32), split(4, 8, torch.float32))


@pytest.mark.parametrize(
    "surgery", [EUPMUSurgery(log_loss=True), EUPMUOfficialSurgery("log")], ids=["log", "published"]
)
def test_ascent_with_logarithms_ends_before_anything_moves(surgery):
    model = mlp()
    with pytest.raises(ObjectiveError, match="losses ≥ 0"):
        run(stage(surgery, objectives=Pair(NegativeCrossEntropy(), CrossEntropy())), model)
    assert torch.equal(weights(model), weights(mlp()))


def test_nothing_to_train_is_refused():
    with pytest.raises(ModelError, match="trainable"):
        run(model=mlp().requires_grad_(False))


class Overflows(CrossEntropy):
    """A slope that overflows at the first updates, or at all."""

    def __init__(self, until):
        self.until, self.updates = until, 0

    def sample(self, batch, epoch, generator):
        self.updates += 1
        return batch

    def __call__(self, model, batch):
        loss = super().__call__(model, batch)
        return loss + (loss - loss.detach()) * (1e38 if self.updates <= self.until else 0.0)


def half_precision(until, surgery):
    """A run whose scaler works on the CPU in single precision, with a schedule."""
    made = StageRunner(
        Predictor(mlp(torch.float32)),
        stage(surgery, objectives=Pair(CrossEntropy(), Overflows(until)), schedule="cosine", max_grad_norm=None),
        split(dtype=torch.float32),
        RunOptions(),
    )
    made.stepper.config.precision.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    return made


def test_a_skipped_update_moves_neither_weights_nor_schedule_nor_dual():
    surgery = EUPMUSurgery(initial_multiplier=0.5)
    made = half_precision(4, surgery)  # two draws for each update: its batch and its probe
    seen = []
    look = lambda progress: seen.append(  # noqa: E731
        (weights(made.stepper.model), made.scheduler.last_epoch, float(surgery.multiplier), bool(optimizer.state))
    )
    optimizer = made.stepper.optimizer
    made.options = RunOptions(on_step=look)
    made.run()
    for moved, epoch, multiplier, state in seen[:2]:
        assert torch.equal(moved, weights(mlp(torch.float32)))
        assert (epoch, multiplier, state) == (0, 0.5, False)
    assert [epoch for _, epoch, _, _ in seen[2:]] == [1, 2, 3, 4, 5, 6]
    assert not torch.equal(seen[2][0], seen[1][0])


def test_a_run_that_only_skips_is_an_error():
    with pytest.raises(NotFiniteError, match="8 successive updates were skipped"):
        half_precision(10**9, WeightedSum()).run()


class Prepared(Objective):
    """Notes how the model was when it was prepared."""

    def __init__(self):
        self.seen = None

    def prepare(self, original, data):
        self.seen = (weights(original.model), original.model.training, len(data.forget))

    def __call__(self, model, batch):
        return model(batch.inputs).square().mean()


def test_objectives_are_prepared_on_the_original_before_the_first_stage():
    objective, model = Prepared(), mlp().train()
    wipe = EditStage(lambda predict, _: [p.zero_() for p in predict.model.parameters()])
    plan = MethodRecipe((wipe, stage(WeightedSum(), objectives=Pair(objective, CrossEntropy()))))
    run_recipe(Predictor(model), plan, split(), RunOptions())
    assert torch.equal(objective.seen[0], weights(mlp()))
    assert objective.seen[1:] == (False, 7)
    assert not model.training


def test_edits_have_randomness_of_their_own():
    found = []
    for _ in range(2):
        model = mlp()
        torch.rand(3)
        before = torch.get_rng_state()
        redraw = EditStage(lambda predict, _: [nn.init.normal_(p) for p in predict.model.parameters()])
        run_recipe(Predictor(model), MethodRecipe((redraw,)), split(), RunOptions(seed=5))
        assert torch.equal(torch.get_rng_state(), before)
        found.append(weights(model))
    assert torch.equal(*found)


def test_augmentation_is_drawn_anew_and_the_same_for_a_seed():
    def noise(inputs, generator):
        return inputs + torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype)

    class Inputs(CrossEntropy):
        met: list

        def sample(self, batch, epoch, generator):
            self.met.append(batch.inputs)
            return batch

    def met():
        objective = Inputs()
        objective.met = []
        data = split(4, 8)
        data.forget.augment = noise
        run(stage(WeightedSum(1.0, 0.0), mode="forget", objectives=Pair(objective, CrossEntropy())), data=data)
        return objective.met

    first, again = met(), met()
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0].sort(0).values, first[1].sort(0).values)


def test_batches_are_read_once_for_each_update():
    class Reader(TensorExamples):
        reads = 0

        def batch(self, indices) -> Batch:
            Reader.reads += 1
            return super().batch(indices)

    sides = [Reader(b.inputs, b.targets) for b in (batch(0, 8), batch(1, 24))]
    run(stage(WeightedSum(), epochs=1), data=Split(*sides, 3))
    assert Reader.reads == 2 * 3
