"""The command line: what it passes on, how it ends, and what it does not import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

import expunge
from expunge import api, registry
from expunge.cli import app
from expunge.cli.echo import echo
from expunge.errors import RequestError
from expunge.request import checks

LIGHT = ("torch", "numpy", "sklearn", "matplotlib", "diffusers", "transformers", "accelerate", "peft", "PIL")


def call(*arguments: str):
    return CliRunner().invoke(app, arguments, prog_name="expunge")


@pytest.fixture
def calls(monkeypatch):
    """Records what the commands pass on, in place of the verbs themselves."""
    recorded: list[tuple[str, tuple, dict]] = []

    def recorder(name):
        def record(*arguments, **keywords):
            console = keywords.pop("console", None)
            assert console is None or hasattr(console, "print")
            recorded.append((name, arguments, keywords))

        return record

    for module, names in {"expunge.demo": ["run_demo"], "expunge.api.convert": ["convert"]}.items():
        stand_in = ModuleType(module)
        for name in names:
            setattr(stand_in, name, recorder(name))
        monkeypatch.setitem(sys.modules, module, stand_in)
    for name in ("run_request", "train_request"):
        monkeypatch.setattr(api, name, recorder(name), raising=False)
    return recorded


@pytest.fixture
def request_file(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(checks, "list_registered_names", lambda kind: ("eupmu",))
    lines = "model: a.b:c", "data: {factory: a.b:data}", "forget: {class: 0}", "method: eupmu", "train: {epochs: 1}"
    file = tmp_path / "request.yaml"
    file.write_text("\n".join(lines))
    return file


def test_version():
    assert call("--version").stdout == f"expunge {expunge.__version__}\n"


def test_help_names_every_command():
    result = call("--help")
    assert result.exit_code == 0
    assert [
        word
        for word in ("demo", "run", "train", "benchmark", "sweep", "estimate-retrain", "sample", "convert", "list")
        if f"\n  {word} " not in result.stdout
    ] == []
    assert "..." not in result.stdout.split("Commands:")[1]


@pytest.mark.parametrize(
    "command", ["demo", "run", "train", "benchmark", "sweep", "estimate-retrain", "sample", "convert", "list"]
)
def test_help_of_every_command_fits_the_screen(command):
    result = call(command, "--help")
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_demo_passes_its_options_on(calls):
    assert call("demo").exit_code == 0
    assert call("demo", "--fast", "--out", "x", "--seeds", "1", "--threads", "2", "--overwrite").exit_code == 0
    plain = {"fast": False, "out": Path("expunge-demo"), "seeds": 3, "threads": None, "overwrite": False}
    full = {"fast": True, "out": Path("x"), "seeds": 1, "threads": 2, "overwrite": True}
    assert calls == [("run_demo", (), plain), ("run_demo", (), full)]


def test_run_passes_the_request_on(calls, request_file):
    assert call("run", str(request_file)).exit_code == 0
    options = [
        "--data-dir",
        "d",
        "--out",
        "o",
        "--show-examples",
        "--overwrite",
        "--ledger",
        "l",
        "--resume",
        "--force",
    ]
    assert call("run", str(request_file), *options).exit_code == 0
    (_, (first,), plain), (_, (second,), full) = calls
    flags = ("overwrite", "show_examples", "resume", "force")
    assert plain == {"data_dir": None, **dict.fromkeys(flags, False)}
    assert full == {"data_dir": Path("d"), **dict.fromkeys(flags, True)}
    assert (first.ledger, second.ledger) == (None, Path("l"))
    assert (first.out, second.out) == (request_file.parent / "runs" / "request", Path("o"))
    assert second.where("method") == "request.yaml line 4"


def test_train_passes_the_request_on(calls, request_file):
    assert call("train", str(request_file), "--data-dir", "d").exit_code == 0
    ((name, (config,), keywords),) = calls
    assert (name, keywords) == ("train_request", {"data_dir": Path("d"), "overwrite": False})
    assert config.train.epochs == 1


def test_convert_passes_its_paths_on(calls):
    result = call("convert", "a.pth", "b.safetensors", "--state-dict-key", "state_dict")
    assert result.exit_code == 0
    assert result.stdout == "Wrote b.safetensors\n"
    assert calls == [("convert", (Path("a.pth"), Path("b.safetensors"), "state_dict"), {"on_message": echo})]


def test_bad_input_ends_with_one_sentence_and_code_2(calls, tmp_path):
    (tmp_path / "request.yaml").write_text("modl: a.b:c\nmodel: a.b:c\n")
    result = call("run", str(tmp_path / "request.yaml"))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("request.yaml line 1: Expected one of ")
    assert result.stderr.endswith("found 'modl': did you mean 'model'.\n")
    assert calls == []


def raiser(error: BaseException):
    def run(*arguments, **keywords):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (RequestError("one example", "none", "name a class"), 2, "Expected one example, but found none: name a class."),
        (KeyboardInterrupt(), 130, "Interrupted; nothing of yours was changed."),
    ],
)
def test_how_commands_end(calls, request_file, monkeypatch, error, code, line):
    monkeypatch.setattr(api, "run_request", raiser(error))
    result = call("run", str(request_file))
    assert (result.exit_code, result.stderr, result.stdout) == (code, f"{line}\n", "")


def test_a_defect_of_ours_is_not_hidden(calls, request_file, monkeypatch):
    monkeypatch.setattr(api, "run_request", raiser(ZeroDivisionError("defect")))
    assert isinstance(call("run", str(request_file)).exception, ZeroDivisionError)


@pytest.fixture
def entries(monkeypatch):
    """Two registered things, one of them long in every part."""
    long = registry.RegistryEntry(
        "a_name_that_is_rather_long_for_a_method",
        ("an_alias", "another_alias"),
        "Somebody, Someone and Somewhat, On Whatever Anybody Ever Wanted to Know, 2026, a very long title",
        "A sentence with ``code`` that needs more than one line on a screen of eighty columns, as some of them do.",
        None,
    )
    both = {"plain": registry.RegistryEntry("plain", (), "", "A short one.", None), long.name: long}
    monkeypatch.setattr(registry, "list_entries", lambda kind: both)
    return both


def test_list_is_plain_and_fits_the_screen(entries):
    result = call("list", "methods")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert max(map(len, lines)) <= 80
    assert result.stdout.isascii()
    assert lines[0].startswith("a_name_that_is_rather")
    assert "A sentence with code that" in lines[0]
    words = " ".join(" ".join(line.split()) for line in lines)
    for word in ("an_alias", "another_alias", "2026,", "plain", "A short one."):
        assert word in words


def test_list_shows_the_presets_of_a_method():
    words = " ".join(call("list", "methods").stdout.split())
    assert "presets: cifar10-class, cifar10-10, cifar10-30," in words
    assert words.count("presets:") == sum(
        bool(entry.target.presets) for entry in registry.list_entries("methods").values()
    )


def test_list_names_the_default_among_methods_alone():
    assert "\nauto " in "\n" + call("list", "methods").stdout
    assert "The default: for classifiers neighbor_labels" in " ".join(call("list", "methods").stdout.split())
    assert "\nauto " not in "\n" + call("list", "masks").stdout
    assert "names no method, `auto` chooses one" in " ".join(call("run", "--help").stdout.split())


def test_list_of_an_unknown_kind():
    result = call("list", "method")
    assert result.exit_code == 2
    assert result.stderr.startswith("Expected one of surgeries, objectives, masks, methods, metrics, readers, models, ")


def fresh(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "expunge", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def imported(process: subprocess.CompletedProcess[str]) -> set[str]:
    lines = [line for line in process.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip() for line in lines} & set(LIGHT)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["run", "--help"], ["sample", "--help"], ["demo", "--help"], ["list"]]
)
def test_help_imports_nothing_heavy(arguments):
    process = fresh(*arguments)
    assert process.returncode == (2 if arguments == ["list"] else 0)
    assert "import time:" in process.stderr
    assert imported(process) == set()


@pytest.mark.parametrize("kind", registry.KINDS)
def test_what_is_listed_is_whole_sentences_within_80_columns(kind):
    result = call("list", kind)
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    for entry in registry.list_entries(kind).values():
        assert entry.name in result.stdout.split(), "a name is cut"
        assert entry.summary.endswith("."), entry
        first = entry.summary.split()[0]
        assert first.isalpha() or "-" in first, f"{entry.name}: a label is no sentence"
        assert first[0].isupper(), entry


def test_a_terminal_that_knows_no_unicode_gets_question_marks():
    process = fresh("list", "masks", PYTHONIOENCODING="ascii")
    assert process.returncode == 0
    assert process.stdout.isascii()
    assert "|?L_f(??)|" in process.stdout


def test_the_shell_completes_kinds():
    process = fresh(_EXPUNGE_COMPLETE="complete_bash", COMP_WORDS="expunge list m", COMP_CWORD="2")
    assert process.stdout.split() == ["masks", "methods", "metrics", "models"]
    assert imported(process) == set()


def test_a_wrong_option_is_explained_without_a_traceback():
    process = subprocess.run([sys.executable, "-m", "expunge", "demo", "--fats"], capture_output=True, text=True)
    assert process.returncode == 2
    assert "--fats" in process.stderr
    assert "Traceback" not in process.stderr
