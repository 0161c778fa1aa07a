"""A finished run that is gone on with writes nothing, and is not taken for what it was where its files are others."""

import json

import pytest
from small_requests import config, result_of, written
from typer.testing import CliRunner

from expunge.api import run_request
from expunge.api.purge import purge
from expunge.cli import app
from expunge.errors import ConfigError, DataError
from expunge.ledger import Ledger

LEDGER = "ledger.sqlite"


@pytest.fixture
def made(folder):
    """A finished run that a ledger has."""
    return run_request(config(folder, ledger=LEDGER), show_examples=True)


def resume(folder, **changes):
    return run_request(config(folder, **{"ledger": LEDGER, **changes}), resume=True)


def kinds(folder):
    return [entry.header.kind for entry in Ledger(folder / LEDGER).entries()]


def test_a_finished_run_writes_nothing(folder, made):
    before = written(folder)
    resume(folder)
    assert written(folder) == before


def replaced_weights(folder):
    (folder / "run" / "unlearned.safetensors").write_bytes((folder / "original.safetensors").read_bytes())


def without_seal(folder):
    path = folder / "run" / "result.json"
    path.write_text(json.dumps({name: part for name, part in json.loads(path.read_text()).items() if name != "seal"}))
    replaced_weights(folder)


def edited(name, *words):
    def edit(folder):
        path = folder / "run" / name
        text = path.read_text()
        assert words[0] in text
        path.write_text(text.replace(*words, 1))

    return edit


CHANGES = {
    "replaced weights": replaced_weights,
    "replaced weights, and the seal removed": without_seal,
    "no weights": lambda folder: (folder / "run" / "unlearned.safetensors").unlink(),
    "an edited report": edited("report.html", "</body>", "<!-- note --></body>"),
    "edited figures": edited("result.json", '"mean": ', '"mean": 1'),
    "an edited history": edited("history.jsonl", '"step": 0', '"step": 9'),
    "an edited manifest": edited("manifest.json", "{", '{"more": 1,'),
    "no request": lambda folder: (folder / "run" / "config.json").unlink(),
    "a link": lambda folder: (
        (folder / "run" / "history.jsonl").rename(folder / "history"),
        (folder / "run" / "history.jsonl").symlink_to(folder / "history"),
    ),
}


@pytest.mark.parametrize("recorded", ["recorded", "not recorded", "redacted"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_finished_run_whose_files_are_others_is_refused_and_nothing_is_written(folder, made, change, recorded):
    if recorded == "redacted":
        CliRunner().invoke(app, ["ledger", "redact", LEDGER, "1"])
    CHANGES[change](folder)
    request = {"ledger": LEDGER if recorded != "not recorded" else "another.sqlite"}
    config(folder, **request)
    before = written(folder)
    with pytest.raises(DataError, match="what the finished run wrote"):
        resume(folder, **request)
    assert written(folder) == before


def test_a_redacted_content_is_not_written_back(folder, made):
    CliRunner().invoke(app, ["ledger", "redact", LEDGER, "1"])
    resume(folder)
    assert kinds(folder) == ["request", "redaction"]
    assert Ledger(folder / LEDGER).entries()[0].content is None


@pytest.mark.parametrize("recorded", [True, False])
def test_a_purged_run_is_finished_too(folder, made, recorded):
    done = purge(made, folder / LEDGER if recorded else None)
    assert "the pictures in the report" in done.removed
    before = written(folder)
    resume(folder)
    assert written(folder) == before


def test_a_run_that_was_killed_before_its_entry_gets_it(folder, made):
    for path in folder.glob("ledger*"):
        path.unlink()
    resume(folder)
    assert kinds(folder) == ["request"]
    resume(folder)
    assert kinds(folder) == ["request"]


def test_a_second_answer_that_was_killed_before_its_entry_gets_it(folder, made):
    run_request(config(folder, ledger=None), overwrite=True, force=True)
    run_request(config(folder, ledger=LEDGER), resume=True, force=True)
    assert kinds(folder) == ["request", "request"]


def test_a_result_without_a_seal_is_taken_as_it_is_where_its_run_knew_of_none(folder):
    made = run_request(config(folder))
    document, begun = result_of(made), json.loads((made / "config.json").read_text())
    assert document.pop("seal")["files"].keys() >= {"config.json", "unlearned.safetensors"}
    (made / "result.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="no seal"):
        run_request(config(folder), resume=True)
    del begun["environment"]["code"]
    (made / "config.json").write_text(json.dumps(begun))
    assert run_request(config(folder), resume=True, force=True) == made


@pytest.fixture
def stopped(folder, monkeypatch):
    """The request of a run that ended when it was about to keep its model."""
    request = config(folder, checkpoint_every="{steps: 1}")
    with monkeypatch.context() as patch:
        patch.setattr("expunge.api.model_job.ModelJob.save_answer", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_request(request)
    return request


def test_other_code_is_said_and_refused_unless_forced(stopped, monkeypatch):
    monkeypatch.setattr("expunge.__version__", "9.9.9")
    with pytest.raises(ConfigError, match=r"version .*, but found version 9\.9\.9: .*--force"):
        run_request(stopped, resume=True)
    made = run_request(stopped, resume=True, force=True)
    assert json.loads((made / "config.json").read_text())["environment"]["later"][0]["expunge"] == "9.9.9"


def test_changed_sources_are_other_code(stopped, monkeypatch):
    monkeypatch.setattr("expunge.code_hashes.hash_package", lambda: "0" * 32)
    with pytest.raises(ConfigError, match="changed sources of it"):
        run_request(stopped, resume=True)
