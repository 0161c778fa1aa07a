"""``expunge ledger``: what it shows, how verification ends, and that a light command stays light."""

import os
import subprocess
import sys

import pytest
from ledgers import KEY, digest, serve, stream, tamper
from typer.testing import CliRunner

from expunge.cli import app
from expunge.key import key_id
from expunge.ledger import BudgetRecord


def call(*arguments: str):
    return CliRunner().invoke(app, arguments, prog_name="expunge")


@pytest.fixture
def path(tmp_path, monkeypatch):
    (tmp_path / "key").write_bytes(KEY)
    (tmp_path / "key").chmod(0o600)
    monkeypatch.setenv("EXPUNGE_KEY_FILE", str(tmp_path / "key"))
    return tmp_path / "ledger.sqlite"


def test_show_lists_entries_and_adds_up_the_stream(path):
    ledger = stream(path, 1)
    for number in (1, 2):
        spent = BudgetRecord("points", 0.25, 0.5, 0.01, 100, digest(("split", number)), budget=1.0)
        serve(ledger, f"ids {number}", number, number + 1, spent)
    text = call("ledger", "show", str(path)).stdout
    assert f"indices {digest('ids 1')[:8]}, 3 of 100 forgotten by rl, drop 0.25 points, at most 0.5 with" in text
    assert "Stream 1: entries 1, 2, 3\n" in text
    assert "Measured drop, all together: 0.5 points, without 1\n" in text
    assert "Not certified: no certificate in 1\n" in text


def test_show_calls_a_gain_one_and_adds_none_of_it_to_the_budget(path):
    ledger = stream(path, 0)
    serve(ledger, "ids 1", 1, 2, BudgetRecord("points", -12.7, -8.8, 0.01, 100, digest("split"), budget=10.0))
    text = call("ledger", "show", str(path)).stdout
    assert "gain 12.7 points" in text
    assert "Measured gain, all together: 12.7 points\n" in text
    assert "Budget: 10 points, of which 10 are left\n" in text


def test_a_broken_budget_is_overspent(path):
    ledger = stream(path, 0)
    serve(ledger, "ids 1", 1, 2, BudgetRecord("points", 3.0, 4.0, 0.01, 100, digest("split"), budget=1.0))
    assert "Budget: 1 points, overspent by 3\n" in call("ledger", "show", str(path)).stdout


def test_show_states_the_certificate_of_a_whole_stream(path):
    ledger = stream(path, 0)
    for number in range(3):
        spent = BudgetRecord("points", 0.25, 0.5, 0.01, 100, digest(("split", number)), budget=1.0)
        serve(ledger, f"ids {number}", number, number + 1, spent)
    text = call("ledger", "show", str(path)).stdout
    assert "Certified: at most 1.5 points with confidence 97 %\n" in text
    assert "Budget: 3 points, of which 1.5 are left\n" in text


def test_what_is_approximate_is_called_so(path):
    ledger = stream(path, 0)
    for number, exact in enumerate((True, False)):
        spent = BudgetRecord("relative loss", 0.1, 0.5, 0.01, 100, digest(("split", number)), budget=1.0, exact=exact)
        serve(ledger, f"ids {number}", number, number + 1, spent)
    text = call("ledger", "show", str(path)).stdout
    assert "at most 0.5 with confidence 99 %\n" in text
    assert "at most 0.5 with confidence about 99 %\n" in text
    assert "Bounded, approximately: at most 1.25 relative loss with confidence 98 %\n" in text
    assert "Certified" not in text


def test_verify_of_a_sound_ledger(path):
    ledger = stream(path)
    head = ledger.verify().head
    for options in ([], ["--expect-head", head], ["--expect-head", f" {head.upper()} "]):
        result = call("ledger", "verify", str(path), *options)
        assert (result.exit_code, result.stdout) == (0, f"Sound: 4 entries, the seal holds\nHead: {head}\n")


def test_verify_without_the_key_says_so_and_makes_none(path, tmp_path, monkeypatch):
    stream(path)
    monkeypatch.setenv("EXPUNGE_KEY_FILE", str(tmp_path / "none"))
    result = call("ledger", "verify", str(path))
    assert (result.exit_code, f"key {key_id(KEY)} is not at hand" in result.stdout) == (0, True)
    assert not (tmp_path / "none").exists()


def test_verify_of_a_ledger_that_was_tampered_with_ends_with_code_1(path):
    stream(path)
    tamper(path, "UPDATE entries SET content = '{}' WHERE number = 2")
    result = call("ledger", "verify", str(path))
    assert result.exit_code == 1
    assert "The content of entry 2 is not the one that was committed to.\nNOT SOUND" in result.stdout
    assert (
        call("ledger", "verify", str(path), "--expect-head", "0" * 63 + "1").stdout.count("No entry has the hash") == 1
    )
    assert "NOT SOUND" in call("ledger", "show", str(path)).stdout


def test_redact_erases_one_entry(path):
    ledger = stream(path)
    result = call("ledger", "redact", str(path), "2")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "Redacted entry 2; entry 5 says so")
    assert "Redacted: 2\n" in call("ledger", "verify", str(path)).stdout
    shown = call("ledger", "show", str(path)).stdout
    assert digest("ids 1")[:8] not in shown
    assert "redaction of entry 2" in shown
    assert ledger.verify(KEY).is_valid


@pytest.mark.parametrize("command", [["show"], ["verify"], ["redact", "1"]])
def test_a_misspelled_name_is_refused_and_no_ledger_begun(path, command):
    result = call("ledger", command[0], str(path), *command[1:])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert not path.exists()


@pytest.mark.parametrize("command", ["show", "verify", "redact"])
def test_help_fits_the_screen_in_whole_sentences(command):
    result = call("ledger", command, "--help")
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "..." not in call("ledger", "--help").stdout.split("Commands:")[1]


def test_the_ledger_is_read_without_anything_heavy(path):
    stream(path)
    code = "import sys; from expunge.cli import main; sys.argv[0] = 'expunge'\ntry: main()\nfinally: "
    code += "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    command = [sys.executable, "-c", code, "ledger", "verify", str(path)]
    process = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.startswith("Sound: 4 entries")


def test_verify_says_when_there_is_no_head_file(path):
    stream(path)
    path.with_name(f"{path.name}.head").unlink()
    assert "No head file beside it" in call("ledger", "verify", str(path)).stdout


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o620])
def test_a_key_that_others_can_read_is_refused_with_the_command_that_mends_it(path, tmp_path, mode):
    stream(path)
    (tmp_path / "key").chmod(mode)
    result = call("ledger", "verify", str(path))
    assert (result.exit_code, "NOT CHECKED: 4 entries" in result.stdout) == (1, True)
    assert f"(mode {mode:o}): run `chmod 600 {tmp_path / 'key'}`." in result.stdout
    refused = call("ledger", "redact", str(path), "1")
    assert (refused.exit_code, "chmod 600" in refused.stderr) == (2, True)
    (tmp_path / "key").chmod(0o600)
    assert call("ledger", "verify", str(path)).exit_code == 0


def test_verify_with_another_key_than_the_ledgers_ends_with_code_1(path, tmp_path):
    stream(path)
    (tmp_path / "key").write_bytes(bytes(32))
    result = call("ledger", "verify", str(path))
    assert (result.exit_code, "it was rewritten under another key" in result.stdout) == (1, True)
    assert "NOT SOUND" in call("ledger", "show", str(path)).stdout


def test_a_key_file_with_an_impossible_name_is_a_sentence(path, monkeypatch):
    stream(path)
    monkeypatch.setenv("EXPUNGE_KEY_FILE", "k" * 300)
    assert "too long" in call("ledger", "verify", str(path)).stdout
    assert call("ledger", "redact", str(path), "1").exit_code == 2
