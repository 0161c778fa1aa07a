"""Every path of commands, requests and calls with paths that no file should have: one sentence, no hang, no harm."""

import json
import os
import sys
from pathlib import Path

import pytest
from ledgers import stream
from torch import nn
from typer.testing import CliRunner
from whole_requests import CLASSIFIER, DIFFUSION, RECIPE
from whole_results import whole_result
from wrong_kinds import fault, hostile_paths

import hostile
from expunge import unlearn
from expunge.api.request.config import load_request
from expunge.benchmark.recipe import load_recipe
from expunge.cli import app, main
from expunge.data import ByIndices
from expunge.errors import ConfigError
from expunge.key import load_key
from expunge.ledger import Ledger
from expunge.report import save_report
from expunge.tasks.classification.build import build_model
from expunge.tasks.classification.readers import image_folder
from expunge.tasks.stable_diffusion.prompt_examples import PromptExamples
from expunge.weights import load_weights, read_metadata, save_weights

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
COMMANDS = (
    *("run @", "run r.yaml --out @/below", "run r.yaml --data-dir @ --out pipe", "run r.yaml --ledger @ --out pipe"),
    *("train @", "train r.yaml --out pipe/@", "audit @ w.safetensors", "audit r.yaml @", "estimate-retrain @"),
    *("audit r.yaml w.safetensors --reference @ --out pipe", "audit r.yaml w.safetensors --out @/pipe"),
    *("bench @", "bench c.yaml --dry-run --out @", "bench c.yaml --dry-run --cache @", "compare @"),
    *("bench c.yaml --summary @", "bench c.yaml --dry-run --data-dir @", "report @", "report result.json --out @"),
    *("report result.json --out @ --format md", "report result.json --out @/figures --format svg"),
    *("images @ --ask 1", "images folder --ask 1 --out @", "convert @ new.safetensors", "purge @", "ulira @"),
    *("purge folder --ledger @", "ledger show @", "ledger verify @", "ledger redact @ 1"),
)
"""Commands in which @ stands for a path; none gets so far as to train."""
SMALL = {key: CLASSIFIER[key] for key in ("model", "checkpoint", "data", "forget", "method", "threads")}


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """The paths, beside a good request, recipe, result, ledger and weights in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EXPUNGE_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    load_key()
    Path("r.yaml").write_text(json.dumps({**SMALL, "checkpoint": "w.safetensors", "sanity_check": False}))
    Path("t.yaml").write_text(json.dumps({**SMALL, "checkpoint": None, "train": {"epochs": 1}}))
    Path("c.yaml").write_text(json.dumps(RECIPE))
    Path("result.json").write_text(json.dumps(whole_result()))
    save_weights(build_model("small_cnn", classes=10, channels=1, width=4), "w.safetensors")
    stream(tmp_path / "ledger.sqlite", 1)
    return hostile_paths(tmp_path)


def complaint(done) -> str:
    """Return what is wrong with how a command ended."""
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        return f"{type(done.exception).__name__}: {done.exception}"
    lines = done.stderr.strip().splitlines()
    if done.exit_code == 2 and len(lines) != 1 and "Invalid value" not in lines[-1]:
        return f"{len(lines)} lines: {done.stderr[-300:]}"
    return "" if done.exit_code in (0, 1, 2) and "\x1b" not in done.output else f"code {done.exit_code}"


@pytest.mark.parametrize("command", COMMANDS)
def test_paths_of_commands(command, paths, monkeypatch):
    monkeypatch.setattr(hostile, "SECONDS", 3.0)
    wrong = []
    for what, path in paths.items():
        with hostile.alarm():
            done = CliRunner().invoke(app, [word.replace("@", path) for word in command.split()])
        wrong += [f"{what}: {said}"] if (said := complaint(done)) else []
    assert not wrong, wrong


def with_path(document: dict, keys: str, path: str) -> dict:
    first, _, rest = keys.partition(".")
    return {**document, first: with_path(document.get(first) or {}, rest, path) if rest else path}


@pytest.mark.parametrize(
    ("document", "keys"),
    [
        *((CLASSIFIER, key) for key in ("checkpoint", "reference", "out", "ledger", "data.dir")),
        *((DIFFUSION, key) for key in ("model", "out", "ledger")),
        ({**CLASSIFIER, "forget": {}}, "forget.indices"),
        ({**DIFFUSION, "judge": {"name": "resnet8"}}, "judge.weights"),
        ({**RECIPE, "data": {"name": "digits"}}, "data.dir"),
    ],
)
def test_paths_in_requests(document, keys, paths):
    read = load_recipe if "requests" in document else load_request
    wrong = []
    for what, path in paths.items():
        Path("request.yaml").write_text(json.dumps(with_path(document, keys, path)))
        with hostile.alarm():
            wrong += [f"{what}: {said}"] if (said := fault(lambda: read("request.yaml"))) else []
    assert not wrong, wrong


MAKING = "run r.yaml --out new", "train t.yaml --out new", "report result.json --out new/x.md"
RESULTS = "report result.json", "report result.json --format md", "ledger verify ledger.sqlite"
CALLS = {
    "load_weights": load_weights,
    "read_metadata": read_metadata,
    "save_weights": lambda path: save_weights(nn.Linear(2, 3), path, overwrite=True),
    "save_report": lambda path: save_report(whole_result(), path, "md"),
    "Ledger": lambda path: Ledger(path).entries(),
    "load_request": load_request,
    "load_recipe": load_recipe,
    "ByIndices": lambda path: ByIndices(path).numbers(),
    "ByIndices npy": lambda path: ByIndices(f"{path}.npy").numbers(),
    "PromptExamples": PromptExamples.load,
    "image_folder": image_folder,
    "unlearn ledger": lambda path: unlearn(nn.Linear(4, 3), forget=[], retain=[], ledger=path),
    "unlearn resume": lambda path: unlearn(nn.Linear(4, 3), forget=[], retain=[], resume=path),
}


@pytest.mark.parametrize("name", CALLS)
def test_paths_of_calls(name, paths):
    wrong = []
    for what, path in paths.items():
        with hostile.alarm():
            wrong += [f"{what}: {said}"] if (said := fault(lambda path=path: CALLS[name](path))) else []
    assert not wrong, wrong


@pytest.mark.parametrize("command", ["--help", "--version", "list methods", "run --help", "ledger show ledger.sqlite"])
def test_a_full_device_as_output_is_one_sentence(command, paths, monkeypatch, capsys):
    assert said_of_a_full_device(command, monkeypatch, capsys)


@pytest.mark.parametrize(
    "command", ["report result.json", "report result.json --format md", "ledger verify ledger.sqlite"]
)
def test_a_full_device_as_output_of_results(command, paths, monkeypatch, capsys):
    assert said_of_a_full_device(command, monkeypatch, capsys)


def said_of_a_full_device(command, monkeypatch, capsys) -> str:
    """Return what a command says on stderr whose output goes to a device that is always full."""
    if not Path("/dev/full").is_char_device():
        pytest.skip("this system has no full device")
    with open("/dev/full", "w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        patch.setattr(sys, "argv", ["expunge", *command.split()])
        with pytest.raises(SystemExit) as ended:
            main()
    lines = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 2
    assert lines == [lines[0]]
    assert "no space left" in lines[0]
    return lines[0]


@pytest.mark.parametrize("command", MAKING)
@pytest.mark.parametrize("number", [28, 122])
def test_no_inode_left_is_one_sentence(command, number, paths, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(number, os.strerror(number), str(arguments[0]))

    monkeypatch.setattr(os, "mkdir", refuse)
    done = CliRunner().invoke(app, command.split())
    assert (done.exit_code, complaint(done)) == (2, "")
    assert os.strerror(number).lower() in done.stderr.lower()


@pytest.mark.parametrize("name", ["w.safetensors", "r.yaml", "result.json", "ledger.sqlite", "zero", "folder"])
@pytest.mark.parametrize("form", ["md", "tex", "csv", "html", "card"])
def test_a_report_replaces_nothing_but_a_report(name, form, paths):
    before = Path(name).read_bytes() if Path(name).is_file() else b""
    done = CliRunner().invoke(app, ["report", "result.json", "--out", name, "--format", form])
    assert done.exit_code == 2, done.output
    assert "name another file" in done.stderr or form == "card"
    assert (Path(name).read_bytes() if Path(name).is_file() else b"") == before


def test_a_report_replaces_an_earlier_one(paths):
    for _ in range(2):
        assert CliRunner().invoke(app, ["report", "result.json", "--out", "x.md"]).exit_code == 0
    assert Path("x.md").read_text().startswith("# ")


def test_a_comparison_replaces_no_result_of_a_run(paths):
    before = Path("result.json").read_bytes()
    for name in ("result.json", "w.safetensors"):
        done = CliRunner().invoke(app, ["bench", "c.yaml", "--summary", name])
        assert (done.exit_code, "name another file" in done.stderr) == (2, True)
    assert Path("result.json").read_bytes() == before


def test_reading_stops_at_the_limit(tmp_path):
    with Path(tmp_path / "large.yaml").open("wb") as file:
        file.truncate(2**34)
    with hostile.alarm(), pytest.raises(ConfigError, match="at most 1 MB"):
        load_request(tmp_path / "large.yaml")
