"""The repository around the package: locked versions, and what `make` does before anything is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, distributions, requires, version
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKED_EXTRAS = ("data", "diffusion", "dev", "docs")


def locked() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonical(requirement.name): requirement for requirement in found}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    return [Requirement(line) for line in [*PROJECT["dependencies"], *(d for e in LOCKED_EXTRAS for d in extras[e])]]


def test_the_lock_is_exact_and_names_public_versions_alone():
    for requirement in locked().values():
        assert [specifier.operator for specifier in requirement.specifier] == ["=="], requirement
        assert requirement.url is None
        assert "+" not in str(requirement.specifier)


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_the_lock_fits_what_the_project_asks_for(requirement):
    pin = next(iter(locked()[canonical(requirement.name)].specifier)).version
    assert requirement.specifier.contains(pin)


@pytest.mark.parametrize("requirement", [Requirement(line) for line in PROJECT["dependencies"]], ids=str)
def test_the_package_asks_for_lower_bounds_alone(requirement):
    assert {specifier.operator for specifier in requirement.specifier} == {">="}


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_the_lock_is_complete(requirement):
    """Everything that a locked package needs here is locked as well."""
    waiting, seen = [requirement], set()
    while waiting:
        requirement = waiting.pop()
        name = canonical(requirement.name)
        if (name, *sorted(requirement.extras)) in seen:
            continue
        seen.add((name, *sorted(requirement.extras)))
        try:
            below = requires(name) or []
        except PackageNotFoundError:
            pytest.skip(f"{name} is not installed")
        wanted = [{**default_environment(), "extra": extra} for extra in ("", *requirement.extras)]
        every = [Requirement(line) for line in below]
        waiting += [one for one in every if one.marker is None or any(map(one.marker.evaluate, wanted))]
    names = {name for name, *_ in seen}
    comes_with_torch = {name for name in names if name.startswith(("nvidia-", "cuda-", "triton"))}
    assert names - comes_with_torch - set(locked()) == set()


def test_the_environment_of_make_is_the_locked_one():
    if not (ROOT / ".venv" / ".development").exists():
        pytest.skip("not in the environment that `make test` makes")
    present = {canonical(found.name) for found in distributions()}
    every = {name: pin.specifier for name, pin in locked().items() if name in present}
    wrong = {name: version(name) for name, pin in every.items() if not pin.contains(version(name))}
    assert wrong == {}


def test_the_workflow_calls_make_with_little_permission_and_fixed_actions():
    """What a hosted runner does is what a developer does; ``actionlint`` reads the rest where it is installed."""
    path = ROOT / ".github" / "workflows" / "ci.yml"
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    steps = [(job, step) for job in workflow["jobs"].values() for step in job["steps"]]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]) for _, step in steps if "uses" in step)
    targets = set(re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1).split())
    called = {step["run"].removeprefix("make ") for _, step in steps if step.get("run", "").startswith("make ")}
    assert called - targets == {'"${{ matrix.target }}"'}
    assert {"lint", "docs", "test", "test-floor"} == called & targets
    assert set(workflow["jobs"]["nightly"]["strategy"]["matrix"]["target"]) == {"test-slow", "coverage"} <= targets
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    supported = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line]
    assert (matrix["os"], matrix["python"]) == (["ubuntu-latest", "macos-latest"], supported)
    if linter := shutil.which("actionlint"):
        found = subprocess.run([linter, str(path)], capture_output=True, text=True)
        assert found.returncode == 0, found.stdout


RECORDING_PYTHON = """#!/usr/bin/env bash
echo "$@" >> "$(dirname "$0")/calls"
case "$*" in
    *"pip install"*)
        echo "WARNING: Location 'file:///gone' is ignored: it is a non-existing path." >&2
        echo "$NOTE" >&2
        exit "${PIP_CODE:-0}" ;;
    *"-m pytest"*) exit "${PYTEST_CODE:-0}" ;;
esac
"""


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """An environment whose Python writes down how it is called."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    for name, text in {"python": RECORDING_PYTHON, "expunge": '#!/bin/sh\necho "$@"\n'}.items():
        program = folder / "bin" / name
        program.write_text(text)
        program.chmod(0o755)
    return folder


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "GNUMAKE"))}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
    )


def installs(venv: Path) -> list[str]:
    return [line for line in (venv / "bin" / "calls").read_text().splitlines() if "pip install" in line]


def test_help_lists_every_target():
    text = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE).group(1).split()
    shown = make().stdout
    assert [target for target in targets if f"make {target} " not in shown] == []


def test_demo_installs_the_lock_once_and_runs_the_demo(venv):
    first = make("demo", f"VENV={venv}", "ARGS=--fast", "PIP_ARGS=--pre")
    assert (first.returncode, first.stdout.splitlines()[-1]) == (0, "demo --overwrite --fast")
    assert first.stderr.strip() == ""
    assert make("demo", f"VENV={venv}").stdout == "demo --overwrite\n"
    (call,) = installs(venv)
    assert call.endswith("--pre -c constraints.txt -e .")


def test_test_installs_the_development_lock_which_serves_the_demos_too(venv):
    assert make("test", f"VENV={venv}", "ARGS=-x").returncode == 0
    for demo in ("demo", "demo-diffusion"):
        assert make(demo, f"VENV={venv}").returncode == 0
    (call,) = installs(venv)
    assert call.endswith("-c constraints.txt -e .[data,diffusion,dev]")
    assert (venv / "bin" / "calls").read_text().splitlines()[-1] == "-m pytest -n 2 --dist loadfile -m not slow -x"


def test_a_changed_lock_is_installed_again(venv):
    assert make("demo", f"VENV={venv}").returncode == 0
    os.utime(venv / ".runtime", (0, 0))
    assert make("demo", f"VENV={venv}").returncode == 0
    assert len(installs(venv)) == 2


def test_an_install_that_fails_stops_everything_and_says_why(venv):
    result = make("demo", f"VENV={venv}", PIP_CODE="1", NOTE="ERROR: No matching distribution")
    assert result.returncode != 0
    assert "ERROR: No matching distribution" in result.stderr
    assert "demo" not in result.stdout
    assert not (venv / ".runtime").exists()


@pytest.mark.parametrize(("code", "passes"), [("0", True), ("5", True), ("1", False), ("2", False)])
def test_no_slow_tests_is_no_failure(venv, code, passes):
    result = make("test-slow", f"VENV={venv}", PYTEST_CODE=code)
    assert (result.returncode == 0) is passes
    assert ("There are no slow tests." in result.stdout) is (code == "5")


def test_a_failing_test_fails(venv):
    assert make("test", f"VENV={venv}", PYTEST_CODE="1").returncode != 0


@pytest.mark.parametrize(
    ("python", "sentence"),
    [
        ("{folder}/old", "Expected Python 3.11 or later, but '{folder}/old' is Python 3.9.2"),
        ("gone-python", "Expected Python 3.11 or later, but found no 'gone-python'"),
    ],
)
def test_an_unfit_python_is_refused_in_one_sentence(tmp_path, python, sentence):
    old = tmp_path / "old"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.9.2" && exit\nexit 1\n')
    old.chmod(0o755)
    result = make("demo", f"VENV={tmp_path / 'venv'}", f"PYTHON={python.format(folder=tmp_path)}")
    assert result.returncode != 0
    assert result.stderr.splitlines()[0].startswith(sentence.format(folder=tmp_path))
    assert not (tmp_path / "venv").exists()
