"""``track`` in request files."""

from __future__ import annotations

import re
import sys

import pytest
from small_requests import config, own, result_of
from stand_in_trackers import STAND_INS, Told

from expunge.api import run_request
from expunge.errors import ConfigError, MissingExtraError


@pytest.fixture
def told(monkeypatch):
    """What the stand-ins of all services were told, by name."""
    found = {name: Told() for name in STAND_INS}
    for name, make in STAND_INS.items():
        for module, content in make(found[name]).items():
            monkeypatch.setitem(sys.modules, module, content)
    return found


def test_a_request_names_a_tracker_or_several_with_settings(folder, told):
    one = config(folder, loggers="tensorboard").loggers
    assert [(each.name, each.settings) for each in one] == [("tensorboard", {})]
    several = config(folder, loggers="[mlflow, {name: wandb, project: mine}]").loggers
    assert [(each.name, each.settings) for each in several] == [("mlflow", {}), ("wandb", {"project": "mine"})]
    assert config(folder).loggers == ()


def test_a_run_tells_its_course_and_the_figures_of_its_table(folder, told):
    place = run_request(config(folder, loggers="[tensorboard, trackio]"))
    (row,) = (row for row in result_of(place)["requests"][0]["rows"] if row["role"] == "method")
    for name in ("tensorboard", "trackio"):
        assert told[name].points["forget_loss"]
        scores = {key: score["mean"] for key, score in row["scores"].items() if score["mean"] is not None}
        assert {key: told[name].figures[key] for key in scores} == pytest.approx(scores)
        assert told[name].failed is False
    assert told["tensorboard"].calls == [str(place / "tensorboard")]
    assert told["wandb"].calls == []


def test_nothing_of_the_data_is_told(folder, told):
    (folder / "secret-list.txt").write_text("".join(f"{index}\n" for index in range(21, 60, 2)))
    asked = own(data="{factory: mine:named}", forget="{indices: secret-list.txt}", loggers="[mlflow, trackio]")
    run_request(config(folder, **asked))
    for name in ("mlflow", "trackio"):
        everything = str(vars(told[name]))
        words = ("ant", "bee", "cat", "secret", "list.txt", "mine", "data", str(folder))
        assert [word for word in words if re.search(rf"\b{re.escape(word)}\b", everything)] == []
        assert not {"class", "indices", "forget", "retain"} & set(told[name].settings)


def test_wrong_trackers_are_refused_at_their_line(folder, told):
    with pytest.raises(ConfigError, match=r"request.yaml line 8: .*did you mean 'wandb'"):
        config(folder, loggers="wandbb")
    with pytest.raises(ConfigError, match=r"request.yaml line 8: Expected settings of mlflow .*but found 'projekt'"):
        run_request(config(folder, loggers="{name: mlflow, projekt: x}"))
    assert not (folder / "run").exists()


def test_a_missing_library_is_refused_before_anything_is_written(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(MissingExtraError, match=r"request.yaml line 8: .*pip install 'expunge\[trackio\]'"):
        run_request(config(folder, loggers="trackio"))
    assert not (folder / "run").exists()
