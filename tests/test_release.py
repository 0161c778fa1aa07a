"""What is published: wheel and source archive are built, installed in a fresh environment and used there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import expunge

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FLOORS = (ROOT / "constraints-floor.txt").read_text().splitlines()
STRANGERS = ("tests/", "benchmarks/", "docs/", "examples/", "recipes/", ".ci/", "__pycache__")
INSIDE = (
    "expunge/py.typed",
    "expunge/report/templates/report.html",
    "expunge/report/templates/report.css",
    "expunge/report/templates/report.js",
)
MAX_WHEEL_BYTES = 1_500_000
CLEAN = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=CLEAN, **options)
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the source archive, and the wheel that is built from the archive."""
    pytest.importorskip("hatchling", reason="hatchling is not installed (extra 'dev')")
    place = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", place, cwd=ROOT)
    (archive,) = place.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        content.extractall(place / "unpacked", filter="data")
    (source,) = (place / "unpacked").iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", place, cwd=source)
    return place


def names(built: Path) -> dict[str, list[str]]:
    (archive,), (wheel,) = built.glob("*.tar.gz"), built.glob("*.whl")
    with tarfile.open(archive) as sources, zipfile.ZipFile(wheel) as content:
        inner = [name.split("/", 1)[1] for name in sources.getnames() if "/" in name]
        return {"archive": inner, "wheel": content.namelist()}


@pytest.mark.slow
def test_wheel_and_archive_hold_the_package_and_nothing_else(built):
    found = names(built)
    assert [name for name in INSIDE if name not in found["wheel"]] == []
    assert [name for name in INSIDE if f"src/{name}" not in found["archive"]] == []
    for name in (*found["archive"], *found["wheel"]):
        assert not any(part in f"{name}/" for part in STRANGERS if not name.startswith("src/expunge/")), name
    assert not any(name.endswith(".safetensors") for name in (*found["archive"], *found["wheel"]))
    (wheel,) = built.glob("*.whl")
    assert wheel.stat().st_size < MAX_WHEEL_BYTES
    tops = {name.split("/")[0] for name in found["wheel"]}
    assert tops == {"expunge", f"expunge-{expunge.__version__}.dist-info"}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md", "CITATION.cff"} <= set(found["archive"])
    sources = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src/expunge").rglob("*.py")}
    assert sources == {name for name in found["wheel"] if name.endswith(".py")}


@pytest.mark.slow
def test_the_wheel_works_in_a_fresh_environment(built, tmp_path):
    """The dependencies come from the environment of the tests; Expunge itself from the wheel alone."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    inside = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (wheel,) = built.glob("*.whl")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "-q", wheel)
    # Plain paths are added after the environment's own, and their .pth files (an editable Expunge) are not followed.
    (inside / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert run(tmp_path / "venv" / "bin" / "expunge", "--version", cwd=tmp_path) == f"expunge {expunge.__version__}\n"
    where = run(python, "-c", "import expunge; print(expunge.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(inside)
    run(tmp_path / "venv" / "bin" / "expunge", "demo", "--fast", "--out", tmp_path / "demo", cwd=tmp_path)
    assert (tmp_path / "demo" / "report.html").stat().st_size > 10_000


EXTRAS = sorted(PROJECT["optional-dependencies"])


@pytest.mark.slow
@pytest.mark.parametrize("extra", EXTRAS)
def test_every_extra_resolves(extra):
    """Beside the versions that are installed; nothing is fetched but the index's answers and metadata."""
    wanted = PROJECT["optional-dependencies"][extra]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--disable-pip-version-check"]
    limits = ["-c", str(ROOT / "constraints.txt")] if extra in ("data", "diffusion", "dev", "docs") else []
    try:
        done = subprocess.run([*command, *limits, *wanted], capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        pytest.skip("the package index did not answer in five minutes")
    away = re.search(r"No matching distribution|Failed to establish|Could not fetch|timed out", done.stderr)
    if away and "ResolutionImpossible" not in done.stderr:
        pytest.skip(f"not at hand here: {done.stderr.strip().splitlines()[-1][:160]}")
    assert done.returncode == 0, done.stderr


def lowest(requirement: str) -> str:
    name, _, version = requirement.partition(">=")
    return f"{name.split('[')[0]}=={version}"


def test_the_floors_are_those_of_the_project():
    extras = PROJECT["optional-dependencies"]
    declared = {lowest(line) for line in [*PROJECT["dependencies"], *extras["data"], *extras["diffusion"]]}
    assert declared <= set(FLOORS)
    assert {line for line in FLOORS if line and not line.startswith("#")} == declared


def test_the_citation_is_of_this_version():
    yaml = pytest.importorskip("yaml")
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == expunge.__version__
    assert cited["license"] == PROJECT["license"]
    assert f"\n## [{expunge.__version__}] - " in (ROOT / "CHANGELOG.md").read_text()
