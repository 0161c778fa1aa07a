"""Requests in a row on one model, each recorded, recognized when it comes again, and added up."""

import json
import re
import sys

import pytest
from small_requests import DATA, config, own, result_of, write_request, written
from typer.testing import CliRunner

from expunge.api import run as run_module
from expunge.api import run_request
from expunge.cli import app
from expunge.errors import ConfigError, DataError, RequestError
from expunge.key import load_or_create_key
from expunge.ledger import Ledger, compute_chain_totals, request_chains


def run(folder, *, again=False, overwrite=False, **changes):
    return run_request(config(folder, **{"ledger": "ledger.sqlite", **changes}), force=again, overwrite=overwrite)


def without_hashes(text):
    """Return a text without runs of hexadecimal and of base64 digits, in which a short name stands by chance."""
    return re.sub(r"[0-9a-f]{16,}|[0-9A-Za-z+/=]{40,}", "", text)


@pytest.fixture
def ledger(folder):
    return Ledger(folder / "ledger.sqlite")


def test_nothing_is_recorded_that_was_not_asked_for(folder, ledger):
    run(folder, ledger=None)
    assert not ledger.path.exists()


def test_ten_requests_in_a_row_are_one_stream(folder, ledger):
    checkpoint, drop = None, 0.0
    for number in range(10):
        changes = own(checkpoint=checkpoint, forget=f"{{fraction: 0.1, seed: {number}}}", out=f"run {number}")
        place = run(folder, **changes, method="{name: ft, epochs: 1}", sanity_check="false")
        checkpoint = f"run {number}/unlearned.safetensors"
        scores = {row["role"]: row["scores"]["ta"]["mean"] for row in result_of(place)["requests"][0]["rows"]}
        drop += scores["original"] - scores["method"]
    entries = ledger.entries()
    assert ledger.verify(load_or_create_key()).is_valid
    assert [[entry.number for entry in stream] for stream in request_chains(entries)] == [list(range(1, 11))]
    (account,) = compute_chain_totals(entries, entries)
    assert account.drop == pytest.approx(drop)
    assert account.uncertified == tuple(range(1, 11))
    with pytest.raises(RequestError, match="entry 3 of "):
        run(folder, **own(checkpoint=checkpoint, forget="{fraction: 0.1, seed: 2}", out="more"))


def test_a_request_that_was_served_is_recognized_before_anything_is_written(folder, ledger):
    run(folder)
    before = written(folder)
    for changes in ({}, {"checkpoint": "run/unlearned.safetensors"}, {"method": "{name: ft, epochs: 1}"}):
        with pytest.raises(RequestError, match=r"entry 1 of .*pass --force"):
            run(folder, **{"out": "other", **changes})
    (folder / "request.yaml").unlink()
    before.pop("request.yaml")
    assert written(folder) == before


def test_the_same_examples_by_another_kind_of_request_are_recognized(folder):
    run(folder, **own())
    (folder / "list.txt").write_text("".join(f"{index}\n" for index in range(1, 60, 3)))
    with pytest.raises(RequestError, match="entry 1"):
        run(folder, **own(forget="{indices: list.txt}", out="other"))


@pytest.mark.parametrize("changes", [{"forget": "{class: 4}"}, {"data": DATA.replace("120", "140")}])
def test_other_requests_are_not_taken_for_it(folder, ledger, changes):
    run(folder)
    run(folder, out="other", **changes)
    assert len(ledger.entries()) == 2


def test_a_request_for_other_inputs_with_the_same_labels_is_not_taken_for_it(folder, ledger):
    run(folder, **own())
    mine = folder / "mine.py"
    mine.write_text(mine.read_text().replace("manual_seed(2)", "manual_seed(3)"))
    del sys.modules["mine"]
    run(folder, **own(out="other"))
    first, second = (entry.content.asked for entry in ledger.entries())
    assert first.forgotten != second.forgotten
    assert first.data != second.data


def test_again_serves_and_records_it_again(folder, ledger):
    run(folder)
    run(folder, again=True, out="other")
    first, second = ledger.entries()
    assert first.content.asked == second.content.asked
    assert first.header.models.original == second.header.models.original


def test_an_original_that_the_run_trains_is_recognized_afterwards(folder, ledger):
    train = "{epochs: 4, batch_size: 20}"
    run(folder, checkpoint="fresh.safetensors", train=train)
    with pytest.raises(RequestError, match="entry 1"):
        run(folder, checkpoint="fresh.safetensors", train=train, out="other")
    inside = run(folder, checkpoint=None, train=train, out="inside")
    assert ledger.entries()[1].content.evidence.keys() >= {"original.safetensors"}
    assert any("expunge purge" in line for line in result_of(inside)["data_still_in"])


def test_the_entry_holds_hashes_of_the_evidence_and_no_names_or_indices(folder, ledger):
    chosen = list(range(21, 60, 2))
    (folder / "secret-list.txt").write_text("".join(f"{index}\n" for index in chosen))
    place = run(folder, **own(data="{factory: mine:named}", forget="{indices: secret-list.txt}"))
    (entry,) = ledger.entries()
    assert set(entry.content.evidence) == {file.name for file in place.iterdir()}
    assert len(set(entry.content.evidence.values())) == len(entry.content.evidence)
    manifest = json.loads((place / "manifest.json").read_text())
    assert (entry.content.asked.forgotten, entry.header.key) == (
        manifest["contents"]["forget"],
        manifest["digest"]["key"],
    )
    assert manifest["dataset"]["fingerprint"] not in ledger.path.read_bytes().decode("latin-1")
    text = ledger.path.read_bytes().decode("latin-1")
    names = ("secret", "list.txt", "mine", "ant", "bee", str(folder))
    assert [name for name in names if name in without_hashes(text)] == []
    assert re.search(r"\b21\D+23\D+25\b", text) is None


@pytest.mark.parametrize("path", ["run/result.json", "run/original.safetensors", "mine.py", "mine.py/ledger"])
def test_a_ledger_in_a_wrong_place_is_refused_at_its_line(folder, path):
    before = written(folder)
    with pytest.raises((ConfigError, DataError)) as caught:
        run(folder, ledger=path)
    assert caught.value.location == "request.yaml line 8"
    assert {name: value for name, value in written(folder).items() if name != "request.yaml"} == before


def test_a_ledger_that_cannot_be_written_in_the_end_leaves_a_finished_run_and_says_so(folder, monkeypatch):
    def full(*arguments, **keywords):
        raise DataError("a ledger that can be opened", "a full disk", "free it")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", full)
        with pytest.raises(DataError, match=r"is finished, but .* no entry of it: free it; then pass --resume"):
            run(folder)
    assert (folder / "run" / "result.json").exists()
    run_request(config(folder, ledger="ledger.sqlite"), resume=True)
    assert len(Ledger(folder / "ledger.sqlite").entries()) == 1


def test_a_request_that_is_answered_twice_at_once_is_recorded_once(folder, ledger, monkeypatch):
    """The other run begins and ends while this one is at work."""
    answered = run_module.run_job

    def meanwhile(*arguments):
        monkeypatch.setattr(run_module, "run_job", answered)
        run(folder, out="other")
        return answered(*arguments)

    monkeypatch.setattr(run_module, "run_job", meanwhile)
    with pytest.raises(RequestError, match=r"entry 1 of .*the run in '.*' is finished, but .*pass --force --resume"):
        run(folder)
    assert len(ledger.entries()) == 1
    assert (folder / "run" / "result.json").exists()
    with pytest.raises(RequestError, match="entry 1"):
        run_request(config(folder, ledger="ledger.sqlite"), resume=True)
    run_request(config(folder, ledger="ledger.sqlite"), resume=True, force=True)
    assert len(ledger.entries()) == 2


def test_the_command_names_entry_and_head(folder, ledger):
    result = CliRunner().invoke(app, ["run", str(write_request(folder)), "--ledger", "ledger.sqlite"])
    assert result.exit_code == 0, result.output
    assert "Ledger:  entry 1 in ledger.sqlite\n" in result.stdout
    assert f"Head:    {ledger.verify().head}\n" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    refused = CliRunner().invoke(app, ["run", str(folder / "request.yaml"), "--ledger", "ledger.sqlite", "--overwrite"])
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "--force" in refused.stderr
