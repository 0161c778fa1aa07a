"""A run that is killed at any moment is gone on with to the same bits."""

from __future__ import annotations

import errno
import os
import random
import signal
import sys

import pytest
from killed_runs import killed, straight
from lock_holder import holder
from rich.console import Console
from small_requests import config, history_of, own, result_of, write_request
from typer.testing import CliRunner

from expunge.api import run_request
from expunge.api.purge import purge
from expunge.cli import app
from expunge.engine import CheckpointManager, Interrupted
from expunge.errors import CheckpointError, ConfigError
from expunge.ledger import Ledger

EACH = "{steps: 1}"
METHOD = "{name: eupmu, epochs: 2, lr: 0.01, batch_size: 32}"
PLAIN = {"method": METHOD, "checkpoint_every": EACH}


class Killed(BaseException):
    """Stands for a kill."""


def assert_survives(folder, kills, seed, **changes):
    """Kill runs of a request until there were so many kills, and compare each with one that was left alone."""
    request = write_request(folder, **changes)
    expected, seconds = straight(request, folder / "straight")
    luck, done, number = random.Random(seed), 0, 0
    while done < kills:
        number += 1
        found = killed(request, folder / f"killed{number}", seconds, luck, most=min(8, kills - done))
        assert found.digests == expected, f"run {number}, killed {found.kills} times"
        done += found.kills
        seconds = seconds if found.kills else min(seconds, found.seconds)


def test_a_run_killed_at_random(folder):
    assert_survives(folder, 5, 0, **PLAIN)


@pytest.mark.slow
def test_a_run_with_a_selection_killed_at_random(folder):
    method = "{name: scrub_rewind, epochs: 3, lr: 0.01, batch_size: 32}"
    assert_survives(
        folder, 16, 1, method=method, checkpoint_every=EACH, holdout="0.3", retrained_model="retrain", train=TRAIN
    )


TRAIN = "{epochs: 2, batch_size: 20, lr: 0.1}"


def interrupted(folder, monkeypatch, after=3, by=Killed, **changes):
    """Begin a run that ends after so many checkpoints, as a kill would end it or by a signal to itself."""
    saves, save = [], CheckpointManager.save

    def counted(self):
        save(self)
        saves.append(self)
        if len(saves) == after:
            if by is Killed:
                raise Killed
            os.kill(os.getpid(), by)

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointManager, "save", counted)
        with pytest.raises(Killed if by is Killed else Interrupted) as told:
            run_request(config(folder, **{**PLAIN, **changes}))
    return told.value


def bits(place):
    return (place / "unlearned.safetensors").read_bytes(), history_of(place)


@pytest.fixture
def expected(folder):
    return bits(run_request(config(folder, **PLAIN, out="straight")))


def resumed(folder, **changes):
    return run_request(config(folder, **{**PLAIN, **changes}), resume=True)


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_signals_save_and_say_how_to_go_on(folder, monkeypatch, expected, by):
    before = signal.getsignal(by)
    stopped = interrupted(folder, monkeypatch, by=by)
    assert stopped.code == 128 + by
    assert (
        str(stopped)
        == "Stopped; what was done is saved in 'run', and `expunge run request.yaml --resume` goes on from there."
    )
    assert signal.getsignal(by) is before
    assert bits(resumed(folder)) == expected


def test_the_command_line_ends_with_the_signals_code(folder, monkeypatch):
    save = CheckpointManager.save

    def struck(self):
        os.kill(os.getpid(), signal.SIGTERM)
        save(self)

    monkeypatch.setattr(CheckpointManager, "save", struck)
    write_request(folder, **PLAIN)
    found = CliRunner().invoke(app, ["run", "request.yaml"])
    assert (found.exit_code, found.stderr.count("\n")) == (143, 1)
    assert "--resume" in found.stderr


def test_a_damaged_checkpoint_is_passed_over(folder, monkeypatch, expected):
    interrupted(folder, monkeypatch)
    older, newest = sorted((folder / "run" / "checkpoints").glob("state-*"))
    newest.write_bytes(newest.read_bytes()[:-9])
    assert bits(resumed(folder)) == expected
    interrupted(folder, monkeypatch, out="other")
    for path in (folder / "other" / "checkpoints").glob("state-*"):
        path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"a checkpoint that is whole.*state-000002.*remove .*checkpoints"):
        resumed(folder, out="other")
    assert older.name == "state-000002.safetensors"


def test_rows_that_were_changed_are_found(folder, monkeypatch):
    interrupted(folder, monkeypatch)
    rows = folder / "run" / "checkpoints" / "history.jsonl"
    rows.write_text(rows.read_text().replace("0", "1", 1))
    with pytest.raises(CheckpointError, match="the rows of the checkpoint"):
        resumed(folder)


def test_a_run_whose_inputs_were_changed_meanwhile_is_refused(folder, monkeypatch):
    interrupted(folder, monkeypatch, **own())
    mine = folder / "mine.py"
    mine.write_text(mine.read_text().replace("    targets = torch", "    inputs[59] += 1\n    targets = torch"))
    del sys.modules["mine"]
    with pytest.raises(ConfigError, match="found other training data: ask for the same as then"):
        resumed(folder, **own())
    (folder / "run" / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="a change of examples"):
        resumed(folder, **own())


def test_a_full_disk_is_one_sentence_and_loses_nothing(folder, monkeypatch, expected):
    with monkeypatch.context() as patch:
        writes = []

        def full(tensors, path, metadata=None):
            writes.append(path)
            if len(writes) > 4:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(tensors, path, metadata)

        from expunge.weights import save

        real = save.save_file
        patch.setattr(save, "save_file", full)
        with pytest.raises(CheckpointError, match=r"No space left on device.*free the disk, then .*--resume"):
            run_request(config(folder, **PLAIN))
    assert not list((folder / "run").rglob("*.tmp"))
    assert bits(resumed(folder)) == expected


def test_a_project_that_was_moved_goes_on(folder, monkeypatch, expected, tmp_path_factory):
    interrupted(folder, monkeypatch)
    moved = tmp_path_factory.mktemp("moved") / "project"
    folder.rename(moved)
    monkeypatch.chdir(moved)
    assert bits(resumed(moved)) == expected
    assert resumed(moved) == moved / "run"


def test_another_process_is_named_and_waited_for(folder, monkeypatch, expected):
    interrupted(folder, monkeypatch)
    other = holder(folder / "run")
    with pytest.raises(ConfigError, match=f"found process {other} on .* at work in .*--out"):
        resumed(folder)
    os.kill(other, signal.SIGKILL)
    os.waitpid(other, 0)
    assert bits(resumed(folder)) == expected


def test_another_request_is_refused(folder, monkeypatch):
    interrupted(folder, monkeypatch)
    with pytest.raises(ConfigError, match="found another seed: ask for the same"):
        resumed(folder, seed="3")
    with pytest.raises(ConfigError, match="--resume"):
        run_request(config(folder, **PLAIN))
    with pytest.raises(ConfigError, match="--overwrite or --resume"):
        run_request(config(folder, **PLAIN), overwrite=True, resume=True)


def test_a_new_run_takes_nothing_of_the_one_before(folder, monkeypatch, expected):
    interrupted(folder, monkeypatch)
    assert bits(run_request(config(folder, **PLAIN), overwrite=True)) == expected


def test_a_finished_run_is_left_as_it_is_but_recorded(folder, monkeypatch):
    changes = {"ledger": "ledger.sqlite"}
    with monkeypatch.context() as patch:

        def killed_before(*_):
            raise Killed

        patch.setattr("expunge.api.run.record_in_ledger", killed_before)
        with pytest.raises(Killed):
            run_request(config(folder, **PLAIN, **changes))
    before = result_of(folder / "run")
    for _ in range(2):
        assert resumed(folder, **changes) == folder / "run"
        assert len(Ledger(folder / "ledger.sqlite").entries()) == 1
    assert result_of(folder / "run") == before
    assert not (folder / "run" / "checkpoints").exists()


def test_what_was_trained_is_not_trained_again(folder, monkeypatch):
    changes = {"checkpoint": None, "train": TRAIN, "retrained_model": "retrain"}
    expected = bits(run_request(config(folder, **PLAIN, **changes, out="straight")))
    trainings = []

    def counted(*given):
        trainings.append(given[-1])
        return train_model(*given)

    from expunge.api.model_job import train_model

    monkeypatch.setattr("expunge.api.model_job.train_model", counted)
    interrupted(folder, monkeypatch, **changes)
    assert bits(resumed(folder, **changes)) == expected
    assert trainings == ["Training", "Retraining"]


def test_purge_removes_checkpoints(folder, monkeypatch):
    interrupted(folder, monkeypatch)
    assert "the run's checkpoints" in purge(folder / "run").removed
    assert not (folder / "run" / "checkpoints").exists()


def test_short_runs_save_nothing_by_default(folder, monkeypatch):
    def never(self):
        raise Killed

    monkeypatch.setattr(CheckpointManager, "save", never)
    place = run_request(config(folder, method=METHOD), console=Console(quiet=True))
    assert not (place / "checkpoints").exists()


@pytest.mark.slow
def test_a_search_inside_a_budget_killed_at_random(folder):
    changes = {"data": "{name: digits, subset: 300, options: {test_share: 0.6}}", "holdout": "0.6", "budget": "2.0"}
    assert_survives(folder, 8, 2, **changes, method="auto", time_limit="2h", checkpoint_every=EACH)


def test_the_clock_on_the_wall_decides_nothing(folder, monkeypatch, expected):
    interrupted(folder, monkeypatch)
    for path in (folder / "run").rglob("*"):
        os.utime(path, (0, 0))
    monkeypatch.setattr("time.time", lambda: -1e6)
    assert bits(resumed(folder)) == expected


def test_a_folder_that_became_unwritable_is_one_sentence(folder, monkeypatch, expected):
    interrupted(folder, monkeypatch)
    with monkeypatch.context() as patch:

        def refused(path, *_):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        patch.setattr("expunge.weights.file.temporary_file", refused)
        with pytest.raises(CheckpointError, match="Permission denied"):
            resumed(folder)
    assert bits(resumed(folder)) == expected
