"""``Result.save``: a folder that report and purge accept, and at every kill the old run or the new one."""

import json
import os
import signal

import pytest
import torch
from small_requests import classifier, sides, written
from typer.testing import CliRunner

import expunge
from expunge.api.purge import purge
from expunge.api.saving import SAVED_FOLDER, finish_saving
from expunge.cli import app
from expunge.data import TensorExamples
from expunge.errors import CheckpointError, ConfigError
from expunge.weights import load_weights

FAST = {"method": "rl", "epochs": 1, "lr": 0.01, "batch_size": 16}
NAMES = {"config.json", "history.jsonl", "result.json", "unlearned.safetensors"}


def answered(seed=0, **changes):
    forget, retain = sides()
    return expunge.unlearn(classifier(), forget=forget, retain=retain, seed=seed, **{**FAST, **changes})


def test_report_and_purge_accept_what_save_writes(tmp_path):
    place = answered().save(tmp_path / "run")
    assert written(place).keys() == NAMES
    shown = CliRunner().invoke(app, ["report", str(place)])
    assert (shown.exit_code, "Forget 12 examples" in " ".join(shown.output.split())) == (0, True), shown.output
    page = CliRunner().invoke(app, ["report", str(place), "--out", str(tmp_path / "page.html")])
    assert page.exit_code == 0, page.output
    assert "No metric was computed for this report" in (tmp_path / "page.html").read_text()
    assert purge(place).removed == ()
    assert CliRunner().invoke(app, ["purge", str(place)]).exit_code == 0


def test_the_result_says_what_became_of_the_budget(tmp_path):
    inputs = torch.randn(400, 6, generator=torch.Generator().manual_seed(7))
    held = TensorExamples(inputs, torch.randint(3, (400,), generator=torch.Generator().manual_seed(7)))
    result = answered(
        method="random_labels_with_budget", epochs=2, holdout=held, budget=expunge.Budget(accuracy_points=60.0)
    )
    document = json.loads((result.save(tmp_path / "run") / "result.json").read_text())
    assert document["requests"][0]["budget"]["within_budget"] == result.budget.within_budget
    assert CliRunner().invoke(app, ["report", str(tmp_path / "run")]).exit_code == 0


def killed_at(call, act):
    """Kill a process at its so-many-th change of names, and return whether it came to it."""
    process = os.fork()
    if process == 0:
        count = [0]

        def before(change):
            def counted(*arguments, **keywords):
                count[0] += 1
                if count[0] == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                return change(*arguments, **keywords)

            return counted

        for name in ("rename", "replace", "unlink", "rmdir", "mkdir"):
            setattr(os, name, before(getattr(os, name)))
        act()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(process, 0)[1])


def test_at_every_kill_the_old_run_or_the_new_one_is_there(tmp_path):
    old, new = answered(seed=0), answered(seed=1)
    whole = [written(result.save(tmp_path / name)) for name, result in (("old", old), ("new", new))]
    place, call, seen = tmp_path / "run", 0, []
    while True:
        call += 1
        old.save(place, overwrite=True)
        (place / "grid.png").write_bytes(b"of the old run")
        (place / "notes.txt").write_text("the user's own")
        if not killed_at(call, lambda: new.save(place, overwrite=True)):
            break
        load_weights(place / "unlearned.safetensors")
        finish_saving(place)
        state = written(place)
        assert state.pop("notes.txt")
        halves = {name for name in state if name.startswith(".") and ".tmp/" in name}
        kept = {name: text for name, text in state.items() if name not in halves}
        left = kept.pop("grid.png", None)
        same = [all(kept[name] == one[name] for name in NAMES - {"result.json"}) for one in whole]
        assert (kept.keys(), any(same)) == (NAMES, True)
        assert (left is not None) == same[0], "what only the old run had goes with it"
        seen.append(same[0])
    assert call > 8
    assert seen == sorted(seen, reverse=True)
    assert {True, False} == {*seen}
    assert sorted(path.name for path in place.iterdir()) == sorted([*NAMES, "notes.txt"])


def test_the_next_reader_puts_a_saved_run_into_its_place(tmp_path):
    old, new, place = answered(), answered(seed=1), tmp_path / "run"
    old.save(place)
    call = 0
    while not (place / SAVED_FOLDER).is_dir():
        call += 1
        assert killed_at(call, lambda: new.save(place, overwrite=True))
    assert CliRunner().invoke(app, ["report", str(place)]).exit_code == 0
    assert not (place / SAVED_FOLDER).exists()
    kept, state = load_weights(place / "unlearned.safetensors"), new.model.state_dict()
    assert all(torch.equal(kept[name], state[name]) for name in kept)


def test_a_save_that_fails_leaves_the_earlier_run(tmp_path, monkeypatch):
    place = answered().save(tmp_path / "run")
    before = written(place)
    monkeypatch.setattr("expunge.api.result_document.build_result_document", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        answered(seed=1).save(place, overwrite=True)
    assert written(place) == before
    with pytest.raises(ZeroDivisionError):
        answered().save(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError):
        answered().save(tmp_path / "file" / "run")


def test_a_hostile_folder_has_nothing_else_moved_or_removed(tmp_path):
    place = answered().save(tmp_path / "run")
    (tmp_path / "mine").write_text("mine")
    (place / SAVED_FOLDER).mkdir()
    (place / SAVED_FOLDER / "names.json").write_text(json.dumps([["../mine"], ["../mine", str(tmp_path / "mine")]]))
    finish_saving(place)
    assert (tmp_path / "mine").read_text() == "mine"
    (place / SAVED_FOLDER).mkdir()
    (place / SAVED_FOLDER / "names.json").write_text("[1")
    with pytest.raises(CheckpointError, match="something else in it"):
        finish_saving(place)
