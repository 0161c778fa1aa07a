"""Savepoints: a run that goes on from one makes the same bits as one that was never stopped."""

from __future__ import annotations

import pytest
import torch
from small_requests import classifier, sides

from expunge import registry
from expunge.batch import Predictor, Split
from expunge.engine import Conditions, Descend, Every, Optimiser, Recipe, Savepoints, execute
from expunge.errors import MissingExtraError
from expunge.masks import Certified, Lenient, Mask
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.pair import Pair
from expunge.surgery import Surgery, Unilateral

MASKS = {
    name: lambda entry=entry: entry.target(
        **({"batches": 2} if "batches" in entry.target.__init__.__code__.co_varnames else {})
    )
    for name, entry in registry.entries("masks").items()
} | {
    "every update bf16": lambda: Lenient(every=2, batches=2, bf16=True),
    "certified": lambda: Certified(Lenient(batches=2), batches=2),
}
SURGERIES = {name: entry.target for name, entry in registry.entries("surgeries").items()}


class Killed(BaseException):
    """Stands for a kill."""


def split() -> Split:
    forget, retain = sides(180, 30)
    return Split(forget, retain, 3, holdout=sides(30, 3)[1])


def outcome(make, folder=None, kill=None, **conditions):
    """Weights and rows of a run; one that is killed after an update goes on from the savepoint of the last one."""
    rows, model = [], classifier().double() if conditions.pop("double", False) else classifier()
    points = None if folder is None else Savepoints(folder, Every(seconds=1e9, updates=1))
    if points is not None:
        points.open({"what": "test"})

    def count(progress):
        if kill is not None and progress.step == kill:
            raise Killed

    recipe = make()
    given = Conditions(
        on_rows=rows.extend, on_step=count, savepoints=points, read_every=4, observe_every=2, **conditions
    )
    try:
        execute(Predictor(model), recipe, split(), given)
    except Killed:
        return None
    return {name: value.clone() for name, value in [*model.state_dict().items(), *model.named_buffers()]}, rows


def assert_resumes(make, folder, kill=5, **conditions):
    expected, rows = outcome(make, **conditions)
    assert outcome(make, folder, kill, **conditions) is None
    found, rest = outcome(make, folder, **conditions)
    assert [name for name, value in expected.items() if not torch.equal(value, found[name])] == []
    assert rest == rows[kill:], "the rows after the savepoint are those of the straight run"


def descent(surgery: Surgery, mask: Mask | None = None, **more) -> Recipe:
    settings = {"epochs": 2, "batch": Pair(8, 25), **more}
    optimiser = settings.pop("optimiser", Optimiser(0.02, schedule="cosine"))
    return Recipe((Descend(Pair(RandomLabel(), CrossEntropy()), surgery, optimiser, mask=mask, **settings),))


@pytest.mark.parametrize("name", SURGERIES)
def test_every_surgery(name, tmp_path):
    try:
        SURGERIES[name]()
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert_resumes(lambda: descent(SURGERIES[name]()), tmp_path)


@pytest.mark.parametrize("name", MASKS)
def test_every_mask(name, tmp_path):
    assert_resumes(lambda: descent(Unilateral(), MASKS[name]()), tmp_path)
