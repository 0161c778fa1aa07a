"""``expunge purge``: what held the data is gone, what is out of reach is named, and the rest stays."""

import pytest
import torch
from small_requests import Classifier, config, result_of, written
from typer.testing import CliRunner

import expunge
from expunge.api import run_request
from expunge.api.purge import purge
from expunge.cli import app
from expunge.errors import ConfigError, DataError
from expunge.key import load_or_create_key
from expunge.ledger import Ledger
from expunge.request.config import load_request

TRAIN = "{epochs: 5, batch_size: 20}"


@pytest.fixture
def place(folder):
    """A run with everything that holds data: an original trained in the folder, and pictures."""
    changes = {"checkpoint": None, "train": TRAIN, "show_examples": "true", "ledger": "ledger.sqlite"}
    made = run_request(config(folder, **changes))
    (made / f".result.json.{'0a' * 4}.tmp").write_text("half_width")
    (made / "grid.png").write_bytes(b"picture")
    return made


def test_what_holds_the_data_is_removed_and_the_evidence_stays(place):
    assert b"data:image/png" in (place / "report.html").read_bytes()
    before, figures = written(place), result_of(place)["requests"][0]["rows"]
    done = purge(place)
    leftover = ".result.json.0a0a0a0a.tmp"
    assert set(done.removed) == {"the pictures in the report", "original.safetensors", "grid.png", leftover}
    after = written(place)
    gone = {"original.safetensors", "grid.png", leftover}
    assert before.keys() - after.keys() == gone
    assert {name for name in after if after[name] != before[name]} == {"report.html", "result.json"}
    assert b"data:image/png" not in (place / "report.html").read_bytes()
    assert result_of(place)["requests"][0]["examples"] == []
    assert result_of(place)["requests"][0]["rows"] == figures
    assert not any("pictures" in line or "expunge purge" in line for line in result_of(place)["data_still_in"])


def test_it_says_what_it_does_not_reach(folder):
    made = run_request(config(folder))
    done = purge(made)
    assert done.removed == ()
    assert f"The original's weights, '{folder / 'original.safetensors'}'." in done.remaining
    assert any(line.startswith("The training data") for line in done.remaining)
    assert (folder / "original.safetensors").exists()


def test_what_a_request_named_from_its_own_folder_is_known_from_elsewhere(folder, monkeypatch):
    monkeypatch.chdir(folder)
    config(folder)
    made = run_request(load_request("request.yaml"))
    monkeypatch.chdir("/")
    assert f"The original's weights, '{folder / 'original.safetensors'}'." in purge(folder / made).remaining
    assert run_request(load_request(folder / "request.yaml"), resume=True) == folder / "run"


def test_a_half_saved_result_is_removed(place):
    (place / f"..saved.{'0a' * 4}.tmp").mkdir()
    (place / f"..saved.{'0a' * 4}.tmp" / "unlearned.safetensors").write_bytes(b"half_width")
    assert "..saved.0a0a0a0a.tmp" in purge(place).removed
    assert not list(place.glob("*.tmp"))


def test_a_second_purge_changes_nothing(place):
    purge(place)
    before = written(place)
    assert purge(place).removed == ()
    assert written(place) == before


def test_a_purge_that_is_killed_is_done_by_the_next(place, monkeypatch):
    monkeypatch.setattr("expunge.api.purge.atomic_write", None)
    with pytest.raises(TypeError):
        purge(place)
    monkeypatch.undo()
    assert "the pictures in the report" in purge(place).removed
    assert result_of(place)["requests"][0]["examples"] == []


def test_a_link_is_removed_and_what_it_points_to_stays(place, tmp_path):
    target = tmp_path / "kept.safetensors"
    (place / "original.safetensors").rename(target)
    (place / "original.safetensors").symlink_to(target)
    assert "original.safetensors" in purge(place).removed
    assert target.exists()
    assert not (place / "original.safetensors").is_symlink()


def test_a_folder_of_another_kind_is_left_alone(tmp_path):
    (tmp_path / "grid.png").mkdir()
    (tmp_path / "photo.png").write_text("mine")
    with pytest.raises(ConfigError, match="a run folder"):
        purge(tmp_path)
    assert (tmp_path / "photo.png").exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", "[" * 100_000, '{"requests": [{"examples": 1}]}'])
def test_a_damaged_result_is_refused_before_anything_is_removed(place, content):
    (place / "result.json").write_text(content)
    before = written(place)
    with pytest.raises(DataError):
        purge(place)
    assert written(place) == before


def test_the_ledger_takes_note(place, folder):
    ledger = Ledger(folder / "ledger.sqlite")
    result = CliRunner().invoke(app, ["purge", str(place), "--ledger", str(ledger.path)])
    assert result.exit_code == 0, result.output
    first, second = ledger.entries()
    assert (second.header.kind, second.header.of) == ("purge", 1)
    assert f"Ledger: entry 2, head {second.hash}\n" in result.stdout
    assert second.content.evidence["manifest.json"] == first.content.evidence["manifest.json"]
    assert second.content.evidence["result.json"] != first.content.evidence["result.json"]
    assert "original.safetensors" not in second.content.evidence
    assert "- The training data, and every cache and copy of them.\n" in result.stdout


def test_a_ledger_without_the_run_is_refused_before_anything_is_removed(place, folder):
    before = written(place)
    for name in ("other.sqlite", "ledger.sqlite"):
        if name == "ledger.sqlite":
            (place / "manifest.json").write_text("{}")
            before = written(place)
        with pytest.raises(DataError, match="an entry of this run"):
            purge(place, folder / name)
        assert written(place) == before


def test_a_saved_result_of_a_call_is_found_in_the_ledger(tmp_path):
    ledger, inputs = tmp_path / "ledger.sqlite", torch.randn(20, 6)
    sides = {"forget": (inputs[:4], torch.arange(4) % 3), "retain": (inputs[4:], torch.arange(16) % 3)}
    result = expunge.unlearn(Classifier(), **sides, method="ft", epochs=1, lr=0.01, batch_size=4, ledger=ledger)
    made = result.save(tmp_path / "saved")
    assert purge(made, ledger).entry.header.of == result.ledger_entry.number
    Ledger(ledger).redact(1, key=load_or_create_key())
    assert purge(made, ledger).entry.header.of == result.ledger_entry.number
    (made / "unlearned.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match="an entry of this run"):
        purge(made, ledger)
