"""Checkpoints that are forged or of another form: passed over or refused in one sentence, never half obeyed."""

from __future__ import annotations

import copy
from contextlib import suppress

import pytest
import torch
from small_requests import classifier, sides

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
from expunge.errors import CheckpointError, ExpungeError
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.pair import Pair
from expunge.surgery import EUPMUSurgery
from expunge.weights import load_state, save_state

UPDATES = 4


def go_on(folder, stop=None, every=1):
    """Make the run's updates up to ``stop`` and return the weights at its end."""
    model, points = classifier(), CheckpointManager(folder, SaveInterval(seconds=1e9, steps=every))
    points.open({"what": "test"})

    def count(progress):
        if progress.step == stop:
            raise KeyboardInterrupt

    forget, retain = sides(60, 12)
    optimizer = OptimizerConfig(0.02, "adamw", schedule="cosine")
    stage = TrainStage(Pair(RandomLabel(), CrossEntropy()), EUPMUSurgery(), optimizer, epochs=2, batch_size=Pair(8, 24))
    conditions = RunOptions(checkpoints=points, on_step=count)
    run_recipe(Predictor(model), MethodRecipe((stage,)), Split(forget, retain, 3), conditions)
    return model.state_dict()


@pytest.fixture
def stopped(tmp_path):
    """A folder with two checkpoints of a run that was stopped."""
    with pytest.raises(KeyboardInterrupt):
        go_on(tmp_path, stop=2)
    return tmp_path


def newest(folder):
    return sorted(folder.glob("state-*"))[-1]


def forge(folder, change):
    state = load_state(newest(folder))
    change(state)
    save_state(state, newest(folder))


FORMS = {
    "no parts": lambda state: state.pop("parts"),
    "parts that are a list": lambda state: state.update(parts=[1]),
    "parts that are nothing": lambda state: state.update(parts=dict.fromkeys(state["parts"])),
    "no subject": lambda state: state.pop("subject"),
    "seconds in words": lambda state: state.update(seconds="x"),
    "seconds without end": lambda state: state.update(seconds=1e999),
    "no generators": lambda state: state.update(first=None),
}


@pytest.mark.parametrize("change", FORMS.values(), ids=list(FORMS))
def test_the_one_before_is_taken_for_one_of_another_form(change, stopped, tmp_path_factory):
    forge(stopped, change)
    found, expected = go_on(stopped), go_on(tmp_path_factory.mktemp("straight"))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_where_all_are_of_another_form_the_folder_is_named(stopped):
    for path in stopped.glob("state-*"):
        save_state({"subject": {}}, path)
    with pytest.raises(CheckpointError, match=r"not the state of a run.*remove '.*' to begin anew"):
        go_on(stopped)


def places(value, path=()):
    """Yield the path of everything in nested values."""
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list | tuple) else ():
        yield from places(value[key], (*path, key))


def put(value, path, new):
    """Return nested values with another one at a path; ``...`` takes it out."""
    if not path:
        return new
    inner = dict(value) if isinstance(value, dict) else dict(enumerate(value))
    inner[path[0]] = put(inner[path[0]], path[1:], new)
    if inner[path[0]] is ...:
        del inner[path[0]]
    return inner if isinstance(value, dict) else type(value)(inner.values())


def test_anything_in_a_checkpoint_may_be_something_else(stopped):
    """Refused in one sentence, or without meaning for the run."""
    path = newest(stopped)
    whole = load_state(path)
    inside = [place for place in places(whole["parts"]["run"]) if place and "param_groups" not in place][::5]
    for file in stopped.glob("state-*"):
        file.unlink()
    for number, place in enumerate(inside):
        forged = copy.deepcopy(whole)
        forged["parts"]["run"] = put(forged["parts"]["run"], place, [..., None, "x", torch.ones(3)][number % 4])
        save_state(forged, path)
        with suppress(ExpungeError, KeyboardInterrupt):
            go_on(stopped, stop=3, every=None)
