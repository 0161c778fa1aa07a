"""Every path of commands, requests and calls with paths that no file should have: one sentence, no hang, no harm."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
import torch._dynamo  # notes PyTorch's functions before they are replaced
from command_lines import admits_path, commands, path_places
from ledgers import KEY, stream
from torch import nn
from typer.testing import CliRunner
from whole_requests import CLASSIFIER, DIFFUSION, PROMPTS, RECIPE
from whole_results import whole_result
from wrong_kinds import annotation_of, fault, hostile_paths, settings_below

import hostile
from expunge import RunConfig, unlearn
from expunge.api.generative.image_comparison import ImageModelComparison
from expunge.benchmark.recipe import BenchmarkRecipe, load_recipe
from expunge.cli import app, main
from expunge.data import ByIndices
from expunge.errors import ConfigError, DataError
from expunge.key import load_or_create_key
from expunge.ledger import Ledger
from expunge.report import save_report
from expunge.request.config import TASK_REQUESTS, find_request_class, load_request
from expunge.tasks.build import build_model
from expunge.tasks.classification.readers import image_folder
from expunge.tasks.stable_diffusion.prompt_examples import PromptExamples
from expunge.weights import load_weights, read_metadata, save_weights

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
LINES = {
    "demo": ("demo --fast --seeds 1 --threads 1", "demo --task diffusion --fast --threads 1"),
    "run": ("run r.yaml",),
    "train": ("train t.yaml",),
    "audit": ("audit r.yaml w.safetensors --overwrite",),
    "benchmark": ("benchmark c.yaml --dry-run", "benchmark c.yaml"),
    "sweep": ("sweep c.yaml",),
    "estimate-retrain": ("estimate-retrain t.yaml --fraction 0.9",),
    "report": ("report result.json", "report result.json --format md", "report result.json --format svg"),
    "sample": ("sample folder --prompt 1",),
    "convert": ("convert w.pt new.safetensors",),
    "purge": ("purge done",),
    "ulira": ("ulira t.yaml --num-shadow-models 6",),
    "list": ("list methods",),
    "ledger show": ("ledger show ledger.sqlite",),
    "ledger verify": ("ledger verify ledger.sqlite",),
    "ledger redact": ("ledger redact ledger.sqlite 1",),
}
"""Good command lines by command; each of their paths is replaced in turn, and each writes to a full device."""
ALONE = "--help", "--version", "run --help"
SILENT = {"sample folder --prompt 1", "report result.json --format svg"}
"""What is refused before anything is written out."""
USABLE = {"a folder", "nothing", "nobody's home"}
"""What may be written to: the empty path is the current folder, and a shell alone knows whose home it is."""
STOP = "leave it at that"
SMALL = {key: CLASSIFIER[key] for key in ("model", "checkpoint", "data", "forget", "method", "threads")}


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """The paths, beside a good request, recipe, result, ledger and weights in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EXPUNGE_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("key").write_bytes(KEY)
    Path("key").chmod(0o600)
    load_or_create_key()
    Path("r.yaml").write_text(json.dumps({**SMALL, "checkpoint": "w.safetensors", "sanity_check": False}))
    Path("t.yaml").write_text(json.dumps({**SMALL, "checkpoint": None, "train": {"epochs": 1}}))
    small = {"requests": [{"class": 3}], "methods": [{"name": "ft", "epochs": 1}], "tune": None}
    Path("c.yaml").write_text(json.dumps({**RECIPE, **small}))
    Path("result.json").write_text(json.dumps(whole_result()))
    Path("done").mkdir()
    Path("done/result.json").write_text(json.dumps(whole_result()))
    model = build_model("small_cnn", classes=10, channels=1, width=4)
    save_weights(model, "w.safetensors")
    torch.save(model.state_dict(), "w.pt")
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


@pytest.fixture
def no_work(monkeypatch):
    """Ends whatever would begin to train or to draw: what is wrong with a path is found before."""

    def refuse_backward(*arguments, **options):
        raise DataError("no work", "the first gradient", STOP)

    def refuse_gradient(*arguments, **options):
        refuse_backward()

    def refuse_drawing(*arguments, **options):
        refuse_backward()

    monkeypatch.setattr(torch.autograd, "backward", refuse_backward)
    monkeypatch.setattr(torch.autograd, "grad", refuse_gradient)
    monkeypatch.setattr(ImageModelComparison, "add_original", refuse_drawing)


def test_every_command_has_a_line():
    assert [name for name, _ in commands()] == [name for name in LINES if name in dict(commands())]
    assert set(LINES) == set(dict(commands()))


@pytest.mark.parametrize("place", path_places(), ids=lambda place: f"{place.command} {place.name}")
def test_paths_of_commands(place, paths, no_work, monkeypatch):
    monkeypatch.setattr(hostile, "SECONDS", 10.0)
    wrong = []
    for line in LINES[place.command]:
        for what, path in paths.items():
            with hostile.alarm():
                done = CliRunner().invoke(app, place.put_into(line, path))
            wrong += [f"{line}, {what}: {said}"] if (said := complaint(done)) else []
            unused = place.name == "data_dir" or (place.name == "models_dir" and "diffusion" not in line)
            if STOP in done.output and not unused and what not in USABLE:
                wrong.append(f"{line}, {what}: not refused before the work")
    assert not wrong, wrong


BESIDE = {"forget": {}, "exclude": {}, "classifier": {"name": "resnet8"}, "data": {"name": "digits"}, "latents": {}}
"""What a section holds beside a path in it, where that is not what the whole request has."""
OF_REQUESTS = [
    (kind, keys)
    for kind, model in {**{task: find_request_class(task) for task in TASK_REQUESTS}, "recipe": BenchmarkRecipe}.items()
    for keys in settings_below(model)
    if admits_path(annotation_of(model, keys))
]


def whole_with(kind: str, keys: tuple[str, ...], path: str) -> dict:
    """Return a good request or recipe with a path in one place."""
    small = {**SMALL, "checkpoint": "w.safetensors", "sanity_check": False}
    document = {"classification": small, "diffusion": DIFFUSION, "stable_diffusion": PROMPTS, "recipe": RECIPE}[kind]
    if len(keys) == 1:
        return {**document, keys[0]: path}
    return {**document, keys[0]: {**BESIDE.get(keys[0], {}), keys[1]: path}}


def test_paths_of_requests_are_found():
    found = {(kind, ".".join(keys)) for kind, keys in OF_REQUESTS}
    assert {("classification", f"forget.{one}") for one in ("indices", "ids")} <= found
    assert {("classification", f"exclude.{one}") for one in ("indices", "ids")} <= found
    assert {("stable_diffusion", "latents.cache"), ("diffusion", "classifier.weights"), ("recipe", "data.dir")} <= found
    assert all(len(keys) <= 2 for _, keys in OF_REQUESTS)


@pytest.mark.parametrize(("kind", "keys"), OF_REQUESTS, ids=lambda one: one if isinstance(one, str) else ".".join(one))
def test_paths_in_requests(kind, keys, paths, no_work):
    wrong = []
    for what, path in paths.items():
        Path("request.yaml").write_text(json.dumps(whole_with(kind, keys, path)))
        with hostile.alarm():
            if kind == "recipe":
                wrong += [f"{what}: {said}"] if (said := fault(lambda: load_recipe("request.yaml"))) else []
                continue
            done = CliRunner().invoke(app, ["run", "request.yaml"])
        wrong += [f"{what}: {said}"] if (said := complaint(done)) else []
        if STOP in done.output and keys != ("data", "dir") and what not in USABLE:
            wrong.append(f"{what}: not refused before the work")
    assert not wrong, wrong


MAKING = "run r.yaml --out new", "train t.yaml --out new", "report result.json --out new/x.md"
CALLS = {
    "load_weights": load_weights,
    "read_metadata": read_metadata,
    "save_weights": lambda path: save_weights(nn.Linear(2, 3), path, overwrite=True),
    "save_report": lambda path: save_report(whole_result(), path, "md"),
    "Ledger": lambda path: Ledger(path).entries(),
    "load_request": load_request,
    "load_recipe": load_recipe,
    "ByIndices": lambda path: ByIndices(path).load_indices(),
    "ByIndices npy": lambda path: ByIndices(f"{path}.npy").load_indices(),
    "PromptExamples": PromptExamples.load,
    "image_folder": image_folder,
    "unlearn ledger": lambda path: unlearn(nn.Linear(4, 3), forget=[], retain=[], ledger=path),
    "unlearn resume": lambda path: unlearn(nn.Linear(4, 3), forget=[], retain=[], config=RunConfig(checkpoints=path)),
}


@pytest.mark.parametrize("name", CALLS)
def test_paths_of_calls(name, paths):
    wrong = []
    for what, path in paths.items():
        with hostile.alarm():
            wrong += [f"{what}: {said}"] if (said := fault(lambda path=path: CALLS[name](path))) else []
    assert not wrong, wrong


@pytest.mark.parametrize("command", [*ALONE, *(line for one in LINES.values() for line in one)])
def test_a_full_device_as_output_is_one_sentence(command, paths, no_work, monkeypatch, capsys):
    said = said_of_a_full_device(command, monkeypatch, capsys)
    assert "no space left" in said or STOP in said or command in SILENT


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
        done = CliRunner().invoke(app, ["benchmark", "c.yaml", "--summary", name])
        assert (done.exit_code, "name another file" in done.stderr) == (2, True)
    assert Path("result.json").read_bytes() == before


def test_reading_stops_at_the_limit(tmp_path):
    with Path(tmp_path / "large.yaml").open("wb") as file:
        file.truncate(2**34)
    with hostile.alarm(), pytest.raises(ConfigError, match="at most 1 MB"):
        load_request(tmp_path / "large.yaml")
