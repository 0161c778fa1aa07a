"""A budgeted run that searches its learning rate is gone on with from any moment: no trial twice, the same bits."""

from __future__ import annotations

import pytest
import torch
from flat_calls import flat_unlearn
from searches import timeless
from torch import nn
from torch.nn import functional

from expunge.api.steering.trial import TrialRunner
from expunge.budget import Budget
from expunge.data import Subset, TensorExamples
from expunge.engine import CheckpointManager, SaveInterval
from expunge.errors import CheckpointError, ConfigError


class Killed(BaseException):
    """Stands for a kill."""


def clouds(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(3).repeat_interleave(count)
    inputs = torch.randn(3 * count, 8, generator=generator)
    inputs[:, :3] += 1.5 * functional.one_hot(labels, 3)
    return TensorExamples(inputs, labels)


@pytest.fixture(scope="module")
def case():
    data = clouds(150, 0)
    chosen = torch.arange(450) % 9 == 0
    sides = [Subset(data, side.nonzero().flatten()) for side in (chosen, ~chosen)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(model(data.inputs), data.targets).backward()
        optimizer.step()
    return model.train(), {"forget": sides[0], "retain": sides[1], "holdout": clouds(120, 1)}


def asked(case, **options):
    return flat_unlearn(
        case[0], **case[1], **{"budget": Budget(accuracy_points=4.0), "epochs": 3, "seed": 1, **options}
    )


def dying(folder, update):
    """What makes a run save after every update and die after one of them."""

    def on_step(progress):
        if progress.step == update:
            raise Killed

    return {"checkpoints": CheckpointManager(folder, SaveInterval(seconds=1e9, steps=1)), "on_step": on_step}


def assert_same(found, expected):
    assert timeless(found.search_history) == timeless(expected.search_history)
    assert (found.method, found.budget, found.history) == (expected.method, expected.budget, expected.history)
    for name, value in expected.model.state_dict().items():
        assert torch.equal(value, found.model.state_dict()[name]), name


def test_the_model_stays_as_it_is_in_training_mode_too(case):
    before = {name: value.clone() for name, value in case[0].state_dict().items()}
    asked(case)
    assert case[0].training
    assert all(torch.equal(value, before[name]) for name, value in case[0].state_dict().items())


@pytest.mark.parametrize("update", [0, 3, 7, 13, 18, 20])
def test_a_search_and_a_run_that_are_killed(case, tmp_path, monkeypatch, update):
    expected, trials, run = asked(case), [], TrialRunner.run

    def counted(self, method):
        trials.append(method.lr)
        if len(trials) == 3:
            raise Killed
        return run(self, method)

    monkeypatch.setattr(TrialRunner, "run", counted)
    with pytest.raises(Killed):
        asked(case, checkpoints=tmp_path)
    with pytest.raises(Killed):
        asked(case, **dying(tmp_path, update))
    done = len(trials)
    assert done == 1 + sum(len(part["trials"]) for part in expected.search_history["rounds"]), (
        "none but the killed one twice"
    )
    assert_same(asked(case, checkpoints=tmp_path), expected)
    assert len(trials) == done
    again = asked(case, checkpoints=CheckpointManager(tmp_path, SaveInterval(steps=1)))
    assert_same(again, expected)


def test_another_request_is_not_gone_on_with(case, tmp_path):
    options = {"method": "rl", "budget": None, "epochs": 1}
    asked(case, **options, checkpoints=CheckpointManager(tmp_path, SaveInterval(steps=1)))
    for other in ({"seed": 2}, {"epochs": 2}, {"log_gradients_every": 3}, {"holdout": None}):
        given = {**options, **other}
        sides = {**case[1], **({"holdout": None} if "holdout" in given else {})}
        given.pop("holdout", None)
        with pytest.raises(CheckpointError, match="another"):
            asked((case[0], sides), **given, checkpoints=tmp_path)
    moved = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
    with pytest.raises(CheckpointError, match="a change of model"):
        asked((moved, case[1]), **options, checkpoints=tmp_path)
    with pytest.raises(ConfigError, match="one process"):
        asked(case, **options, checkpoints=tmp_path, distributed=True)
