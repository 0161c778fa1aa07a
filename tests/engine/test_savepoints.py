"""Checkpoints: a run that goes on from one makes the same bits as one that was never stopped."""

from __future__ import annotations

import random
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from small_requests import classifier, sides

from expunge import registry
from expunge.batch import Predictor, Split
from expunge.engine import (
    CheckpointManager,
    MethodRecipe,
    OptimizerConfig,
    RunOptions,
    SaveInterval,
    TrainStage,
    run_recipe,
)
from expunge.errors import MissingExtraError
from expunge.masks import KeepUnlessHarmful, Mask, SequentialTest
from expunge.methods import build_method
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.pair import Pair
from expunge.surgery import EUPMUSurgery, Projection, Surgery, WeightedSum

MASKS = {
    name: lambda entry=entry: entry.target(
        **({"batches": 2} if "batches" in entry.target.__init__.__code__.co_varnames else {})
    )
    for name, entry in registry.list_entries("masks").items()
} | {
    "every update bf16": lambda: KeepUnlessHarmful(refresh_every=2, initial_batches=2, bf16=True),
    "certified": lambda: SequentialTest(KeepUnlessHarmful(initial_batches=2), test_batches=2),
}
SURGERIES = {name: entry.target for name, entry in registry.list_entries("surgeries").items()}


class Killed(BaseException):
    """Stands for a kill."""


def split() -> Split:
    forget, retain = sides(180, 30)
    return Split(forget, retain, 3, holdout=sides(30, 3)[1])


def outcome(make, folder=None, kill=None, **conditions):
    """Weights and rows of a run; one that is killed after an update goes on from the checkpoint of the last one."""
    rows, model = [], classifier()
    points = None if folder is None else CheckpointManager(folder, SaveInterval(seconds=1e9, steps=1))
    if points is not None:
        points.open({"what": "test"})

    def count(progress):
        if kill is not None and progress.step == kill:
            raise Killed

    recipe = make()
    given = RunOptions(
        on_log=rows.extend, on_step=count, checkpoints=points, log_every=4, log_gradients_every=2, **conditions
    )
    try:
        run_recipe(Predictor(model), recipe, split(), given)
    except Killed:
        return None
    return {name: value.clone() for name, value in [*model.state_dict().items(), *model.named_buffers()]}, rows


def assert_resumes(make, folder, kill=5, **conditions):
    expected, rows = outcome(make, **conditions)
    assert outcome(make, folder, kill, **conditions) is None
    found, rest = outcome(make, folder, **conditions)
    assert [name for name, value in expected.items() if not torch.equal(value, found[name])] == []
    assert rest == rows[kill:], "the rows after the checkpoint are those of the straight run"


def descent(surgery: Surgery, mask: Mask | None = None, **more) -> MethodRecipe:
    settings = {"epochs": 2, "batch_size": Pair(8, 25), **more}
    optimizer = settings.pop("optimizer", OptimizerConfig(0.02, schedule="cosine"))
    return MethodRecipe((TrainStage(Pair(RandomLabel(), CrossEntropy()), surgery, optimizer, mask=mask, **settings),))


@pytest.mark.parametrize("name", SURGERIES)
def test_every_surgery(name, tmp_path):
    try:
        SURGERIES[name]()
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert_resumes(lambda: descent(SURGERIES[name]()), tmp_path)


@pytest.mark.parametrize("name", MASKS)
def test_every_mask(name, tmp_path):
    assert_resumes(lambda: descent(Projection(), MASKS[name]()), tmp_path)


CONDITIONS = {
    "joint statistics": {"batch_norm": "joint"},
    "statistics of their own": {"batch_norm": "separate"},
    "micro-batches": {"gradient_accumulation_steps": 2},
    "bfloat16": {"precision": "bf16"},
    "a running mean": {"ema_decay": 0.9},
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_every_condition(name, tmp_path):
    assert_resumes(lambda: descent(EUPMUSurgery()), tmp_path, **CONDITIONS[name])


@pytest.mark.parametrize(
    "optimizer", [OptimizerConfig(0.01, "adamw"), OptimizerConfig(0.01, max_grad_norm=0.1, momentum=0.0)], ids=repr
)
def test_every_optimizer(optimizer, tmp_path):
    assert_resumes(lambda: descent(WeightedSum(), optimizer=optimizer), tmp_path)


METHODS = [
    name for name, entry in registry.list_entries("methods").items() if entry.target.task in (None, "classification")
]


@pytest.mark.parametrize("kill", [0, 6, 13])
@pytest.mark.parametrize("name", METHODS)
def test_every_method(name, kill, tmp_path):
    """Whatever its stages: edits that change the model's form, several descents, selections."""

    def make():
        wanted = {"epochs": 3, "batch_size": 40, "forget_batch_size": 10}
        known = {field.name for field in fields(build_method(name))}
        return build_method(name, **{key: value for key, value in wanted.items() if key in known}).recipe(0)

    updates = sum(isinstance(stage, TrainStage) for stage in make().stages)
    if not updates:
        pytest.skip("closed form: it begins anew")
    expected, rows = outcome(make)
    if kill >= len(rows):
        kill = len(rows) - 1
    assert outcome(make, tmp_path, kill) is None
    found, rest = outcome(make, tmp_path)
    assert [part for part, value in expected.items() if not torch.equal(value, found[part])] == []
    assert rest == rows[kill:]


def test_global_generators_are_where_they_were(tmp_path):
    """A user's objective may draw from them."""

    class Drawn(RandomLabel):
        def sample(self, batch, epoch, generator):
            shift = torch.rand(()) + random.random() + np.random.rand()
            return super().sample(replace(batch, inputs=batch.inputs + float(shift)), epoch, generator)

    def make():
        stage = descent(WeightedSum()).stages[0]
        return MethodRecipe((replace(stage, objectives=Pair(Drawn(), CrossEntropy())),))

    def seeded(*given):
        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)
        return outcome(make, *given)

    expected, rows = seeded()
    assert seeded(tmp_path, 5) is None
    torch.manual_seed(9)
    found, rest = outcome(make, tmp_path)
    assert [part for part, value in expected.items() if not torch.equal(value, found[part])] == []
    assert rest == rows[5:]
