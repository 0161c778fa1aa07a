"""Nothing of the user's is under a name that a run removes, and nothing is opened through a link."""

import json
import os
import signal

import pytest
from small_requests import config, write_request, written
from typer.testing import CliRunner

from expunge.api import run_request, train_request
from expunge.api.folder import clear_checkpoints
from expunge.api.purge import purge
from expunge.cli import app
from expunge.errors import ConfigError, DataError
from expunge.ledger import Ledger
from expunge.weights import folder_lock

TRAIN = "{epochs: 1, batch_size: 20}"
INSIDE = {
    "ledger": "{}/l.sqlite",
    "checkpoint": "{}/original.safetensors",
    "retrained_model": "{}/reference.safetensors",
    "forget": "{{indices: {}/list.txt}}",
    "data": "{{name: digits, dir: {}/data}}",
}


@pytest.mark.parametrize(
    "name", ["run/checkpoints", "run/unlearned", "run/ulira", "run/ulira/cache", "away/../run/checkpoints"]
)
@pytest.mark.parametrize("key", INSIDE)
def test_paths_inside_a_folder_that_a_run_empties_are_refused_at_their_line(folder, key, name):
    place = folder / name
    (folder / "away").mkdir()
    place.mkdir(parents=True, exist_ok=True)
    for file in ("original.safetensors", "reference.safetensors"):
        (place / file).write_bytes((folder / "original.safetensors").read_bytes())
    (place / "list.txt").write_text("1\n2\n")
    (place / "data").mkdir()
    changes = {key: INSIDE[key].format(name)}
    if key == "ledger":
        changes["ledger"] = INSIDE[key].format(name)
    request = config(folder, **changes)
    before = written(folder)
    for act in (run_request, train_request) if key != "retrained_model" else (run_request,):
        with pytest.raises(ConfigError, match="does not write over") as caught:
            act(config(folder, **{**changes, "train": TRAIN}) if act is train_request else request, overwrite=True)
        assert caught.value.location.startswith("request.yaml line")
    (folder / "request.yaml").unlink()
    before.pop("request.yaml")
    assert written(folder) == before


@pytest.mark.parametrize("path", ["run/result.json", "run/original.safetensors", "run/.lock", "link/checkpoints/l"])
def test_a_ledger_under_a_name_of_the_run_is_refused(folder, path):
    (folder / "run").mkdir()
    (folder / "link").symlink_to("run")
    with pytest.raises(ConfigError, match="does not write over"):
        run_request(config(folder, ledger=path))
    assert list((folder / "run").iterdir()) == []


def test_the_data_in_the_run_folder_itself_are_refused(folder):
    (folder / "run").mkdir()
    with pytest.raises(ConfigError, match="the run folder itself"):
        run_request(config(folder, data="{name: digits, dir: run}"))
    with pytest.raises(ConfigError, match="apart from the data"):
        run_request(config(folder), data_dir=folder / "run")


def test_an_original_in_the_run_folder_is_taken_as_it_is(folder):
    (folder / "run").mkdir()
    (folder / "original.safetensors").rename(folder / "run" / "original.safetensors")
    made = run_request(config(folder, checkpoint="run/original.safetensors"))
    assert (made / "result.json").exists()
    assert (made / "original.safetensors").exists()


@pytest.mark.parametrize("name", ["checkpoints", "ulira", "unlearned"])
def test_a_link_under_the_name_of_a_runs_folder_is_refused_and_what_it_leads_to_stays(folder, name):
    (folder / "mine").mkdir()
    (folder / "mine" / "history.jsonl").write_text("my own")
    (folder / "run").mkdir()
    (folder / "run" / name).symlink_to(folder / "mine")
    with pytest.raises(ConfigError, match="without links"):
        run_request(config(folder, checkpoint_every="{steps: 1}"))
    assert written(folder / "mine").keys() == {"history.jsonl"}
    assert (folder / "mine" / "history.jsonl").read_text() == "my own"


def test_links_under_the_names_of_a_runs_files_are_replaced_and_their_targets_stay(folder):
    (folder / "run").mkdir()
    names = ("config.json", "manifest.json", "history.jsonl", "report.html", "result.json", "unlearned.safetensors")
    for name in names:
        (folder / f"mine {name}").write_text("mine")
        (folder / "run" / name).symlink_to(folder / f"mine {name}")
    made = run_request(config(folder), overwrite=True)
    assert [name for name in names if (folder / f"mine {name}").read_text() != "mine"] == []
    assert [name for name in names if (made / name).is_symlink()] == []


def test_files_of_the_users_among_the_checkpoints_stay(folder):
    place = folder / "run" / "checkpoints"
    place.mkdir(parents=True)
    (place / "notes.txt").write_text("mine")
    (place / "state-000001.safetensors").write_text("old")
    (place / "rank-0-of-2").mkdir()
    (place / "rank-0-of-2" / "state-000001.safetensors").write_text("old")
    assert clear_checkpoints(folder / "run")
    assert sorted(path.name for path in place.rglob("*")) == ["notes.txt"]
    run_request(config(folder), overwrite=True)
    assert sorted(path.name for path in place.rglob("*")) == ["notes.txt"]


def killed_before_a_rename(act):
    """Kill a process when it is about to rename its first finished file."""
    process = os.fork()
    if process == 0:
        os.replace = os.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        act()
        os._exit(0)
    os.waitpid(process, 0)


def test_what_a_killed_training_left_is_removed_by_the_next(folder):
    request = config(folder, checkpoint="new.safetensors", train=TRAIN)
    killed_before_a_rename(lambda: train_request(request))
    assert [path for path in written(folder) if ".tmp" in path] != []
    train_request(request)
    assert [path for path in written(folder) if ".tmp" in path] == []


def test_what_a_killed_run_left_is_removed_by_the_next(folder):
    killed_before_a_rename(lambda: run_request(config(folder)))
    assert [path for path in written(folder) if ".tmp" in path] != []
    run_request(config(folder), resume=True)
    assert [path for path in written(folder) if ".tmp" in path] == []


def test_a_purge_leaves_a_run_at_work_alone(folder):
    made = run_request(config(folder))
    with folder_lock(made), pytest.raises(ConfigError, match=r"at work in .*: wait for the run to end"):
        purge(made)


@pytest.mark.parametrize("name", ["ulira", "ulira/cache", "checkpoints"])
def test_a_purge_follows_no_link_and_names_it(folder, name):
    made = run_request(config(folder))
    mine = folder / "mine"
    for file in ("cache/x", f"{'a' * 32}.json", "state-000001.safetensors"):
        (mine / file).parent.mkdir(parents=True, exist_ok=True)
        (mine / file).write_text("mine")
    before = written(mine)
    (made / name).parent.mkdir(exist_ok=True)
    (made / name).symlink_to(mine)
    done = purge(made)
    assert written(mine) == before
    assert f"What the link '{made / name}' leads to." in done.remaining


def test_a_purge_names_shadow_models_and_half_files_elsewhere(folder):
    made = run_request(config(folder))
    (folder / "shadows").mkdir()
    (made / "ulira").mkdir()
    (made / "ulira" / "ulira.json").write_text(json.dumps({"cache": str(folder / "shadows")}))
    half = folder / ".original.safetensors.0123abcd.tmp"
    half.write_text("half_width")
    left = purge(made).remaining
    assert f"The shadow models of the audit, '{folder / 'shadows'}'." in left
    assert f"Half-written weights of the original, '{half}'." in left


def test_a_purge_of_a_run_whose_entry_was_redacted_is_recorded(folder):
    made = run_request(config(folder, ledger="ledger.sqlite"))
    assert CliRunner().invoke(app, ["ledger", "redact", "ledger.sqlite", "1"]).exit_code == 0
    entry = purge(made, folder / "ledger.sqlite").entry
    assert (entry.header.kind, entry.header.of) == ("purge", 1)
    (made / "unlearned.safetensors").write_bytes(b"another")
    with pytest.raises(DataError, match="an entry of this run"):
        purge(made, folder / "ledger.sqlite")
    assert len(Ledger(folder / "ledger.sqlite").entries()) == 3


@pytest.mark.parametrize(
    "content", [b"[1]", b"\xff", b'{"checkpoint": "/%s"}' % (b"a" * 5000), b'{"checkpoint": "/a\\u0000b"}']
)
def test_a_purge_reads_hostile_requests_as_none(folder, content):
    write_request(folder)
    made = run_request(config(folder))
    (made / "config.json").write_bytes(content)
    assert "The original's weights, wherever they are." in purge(made).remaining


@pytest.mark.parametrize("key", ["ledger", "checkpoint"])
def test_a_name_too_long_to_be_half_written_under_is_refused_before_the_work(folder, key):
    """File systems have names of 255 bytes, and what is being written has a longer name than it gets."""
    lines = {"train": "{epochs: 1}", key: "n" * 232 + ".safetensors"}
    with pytest.raises(ConfigError, match=r"a file name of at most 230 bytes, but found one of 244"):
        run_request(config(folder, **lines))
    assert not (folder / "run").exists()
