"""Trackers: what they are told, what they are not, and that none can spoil a run."""

from __future__ import annotations

import math
import sys
import warnings

import pytest
import torch
from flat_calls import flat_unlearn
from small_requests import classifier, sides
from stand_in_trackers import STAND_INS, Told

import expunge
from expunge.data import TensorExamples
from expunge.errors import ConfigError, MissingExtraError, NotFiniteError
from expunge.loggers import Logger, LoggerGroup, as_logger_group, build_logger
from expunge.registry import list_entries

SETTINGS = {"method": "rl", "epochs": 2, "lr": 0.01, "batch_size": 16, "seed": 3}


def run(loggers=None, **changes):
    first, second = sides()
    return flat_unlearn(
        classifier(), forget=first, retain=second, config=expunge.RunConfig(loggers=loggers), **{**SETTINGS, **changes}
    )


@pytest.fixture(params=STAND_INS)
def service(request, monkeypatch):
    """A name, and what the stand-in of that name was told."""
    told = Told()
    for name, module in STAND_INS[request.param](told).items():
        monkeypatch.setitem(sys.modules, name, module)
    return request.param, told


class Kept(Logger):
    """Notes what it is told, and raises where it is to."""

    def __init__(self, broken: str = "") -> None:
        self.broken, self.rows, self.ended, self.settings = broken, [], [], None

    def start(self, settings):
        self.settings = dict(settings)
        self.perhaps("start")

    def log(self, step, values):
        self.rows.append((step, dict(values)))
        self.perhaps("log")

    def finish(self, figures, *, failed):
        self.ended.append((dict(figures), failed))
        self.perhaps("finish")

    def perhaps(self, what):
        if what == self.broken:
            raise ConnectionError("no route\nto the host")


def test_every_registered_tracker_has_a_stand_in():
    assert set(list_entries("loggers")) == set(STAND_INS)


def test_a_service_is_told_settings_every_update_and_the_end(service):
    name, told = service
    result = run(name)
    assert (
        told.settings.items() >= {"method": "RandomLabels", "lr": "0.01", "seed": "3", "task": "classification"}.items()
    )
    for key in ("forget_loss", "retain_loss", "cosine"):
        known = [(row["step"], row[key]) for row in result.history if row.get(key) is not None]
        assert known, key
        assert told.points[key] == known
    assert told.figures == {"seconds": result.seconds, "updates": float(len(result.history))}
    assert told.failed is False


def test_a_run_that_fails_is_ended_as_failed(service):
    name, told = service
    with pytest.raises(NotFiniteError):
        run(name, lr=1e30)
    assert told.failed is True


def test_without_the_library_the_install_line_is_given_before_anything_is_done(service, monkeypatch):
    name, told = service
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'expunge\[{name}\]'"):
        run(name)
    assert (told.settings, told.calls) == ({}, [])


def test_the_extras_of_the_install_lines_are_there():
    import tomllib
    from pathlib import Path

    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())["project"]
    assert set(STAND_INS) <= set(project["optional-dependencies"])


@pytest.mark.parametrize("where", ["start", "log", "finish"])
def test_a_tracker_that_raises_loses_nothing_but_itself(where):
    broken, sound = Kept(where), Kept()
    alone = run()
    with pytest.warns(UserWarning, match=r"logger Kept failed \(ConnectionError: no route\); the run goes on") as seen:
        result = run([broken, sound])
    assert sum("logger Kept failed" in str(warning.message) for warning in seen) == 1
    assert all(torch.equal(a, b) for a, b in zip(alone.model.parameters(), result.model.parameters(), strict=True))
    assert result.history == alone.history
    assert [step for step, _ in sound.rows] == [row["step"] for row in result.history]
    assert len(broken.rows) == {"start": 0, "log": 1, "finish": len(result.history)}[where]
    assert [failed for _, failed in sound.ended] == [False]


def test_readings_of_a_budget_are_told_with_the_update_before_them():
    generator = torch.Generator().manual_seed(8)
    held = TensorExamples(torch.randn(400, 6, generator=generator), torch.arange(400) % 3)
    kept = Kept()
    result = run(
        kept, method="random_labels_with_budget", budget=expunge.Budget(accuracy_points=60.0), holdout=held, epochs=3
    )
    known = {row["step"]: row["spent"] for row in result.history if row.get("spent") is not None}
    told = {step: values["spent"] for step, values in kept.rows if "spent" in values}
    assert told == pytest.approx(known)
    assert len(told) > 3
    (figures, _), chosen = kept.ended[0], result.budget.evaluations[result.budget.chosen]
    assert figures["spent"] == chosen.spent
    assert figures["within_budget"] == float(result.budget.within_budget)


def test_rows_wait_until_what_is_measured_after_them_is_known():
    kept = Kept()
    with LoggerGroup([kept]) as tracks:
        tracks.start({})
        measured = {}
        tracks.complete_rows = lambda rows: [row | measured.get(row["step"], {}) for row in rows]
        tracks.add_rows([{"step": 0, "forget_loss": 1.0, "cosine": None}, {"step": 1, "forget_loss": math.inf}])
        assert kept.rows == [(0, {"forget_loss": 1.0})]
        measured[1] = {"spent": 0.5}
    assert kept.rows[1:] == [(1, {"spent": 0.5})]


def test_trackers_that_somebody_else_opened_are_left_open():
    kept = Kept()
    with LoggerGroup([kept]) as tracks:
        run(tracks)
        assert kept.ended == []
        tracks.log_summary({"ua": 5.0, "ta": None})
    ((figures, failed),) = kept.ended
    assert (figures["ua"], "ta" in figures, failed) == (5.0, False, False)


def test_what_is_no_tracker_is_refused():
    with pytest.raises(ConfigError, match="but found 'tensorbord': did you mean 'tensorboard'"):
        as_logger_group("tensorbord")
    with pytest.raises(ConfigError, match=r"a logger's name, a mapping .*but found int"):
        as_logger_group([3])
    with pytest.raises(ConfigError, match=r"settings of wandb .*but found 'projekt'"):
        as_logger_group({"name": "wandb", "projekt": "x"})
    assert as_logger_group(None).loggers == []


def test_weights_and_biases_is_kept_from_collecting_by_itself(monkeypatch, tmp_path):
    told = Told()
    monkeypatch.setitem(sys.modules, "wandb", STAND_INS["wandb"](told)["wandb"])
    logger = build_logger("wandb", {"project": "mine"}, tmp_path)
    logger.start({})
    (asked,) = told.calls
    assert asked["settings"] == {"console": "off", "save_code": False, "disable_git": True, "x_disable_meta": True}
    assert (asked["project"], asked["dir"]) == ("mine", str(tmp_path / "wandb"))


def test_the_real_tensorboard_reads_what_is_written(tmp_path):
    pytest.importorskip("tensorboard")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, about versions of what it uses
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        result = run({"name": "tensorboard", "folder": tmp_path})
        read = EventAccumulator(str(tmp_path))
        read.Reload()
    points = {one.step: one.value for one in read.Scalars("forget_loss")}
    assert points == pytest.approx({row["step"]: row["forget_loss"] for row in result.history})
    assert read.Scalars("final/failed")[0].value == 0.0
