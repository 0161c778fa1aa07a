"""Disks that hold so many files or bytes and no more, real ones: one sentence, nothing half written, no work lost."""

import json
import os
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from flat_calls import flat_unlearn
from ledgers import stream
from torch import nn
from typer.testing import CliRunner
from whole_requests import CLASSIFIER
from whole_results import whole_result
from wrong_kinds import fault

from expunge import RunConfig
from expunge.cli import app
from expunge.errors import FitWarning
from expunge.key import load_or_create_key
from expunge.ledger import Ledger
from expunge.report import save_report
from expunge.tasks.build import build_model
from expunge.weights import save_weights

SMALL = {key: CLASSIFIER[key] for key in ("model", "data", "forget", "method", "threads")}
FEW = 2, 3, 4, 6, 8, 10, 12, 14, 17, 60
"""Files and folders that there is room for; the last are too many for none of the commands."""


@contextmanager
def disk(folder: Path, limit: str) -> Iterator[Path]:
    """Lend a file system of its own that has a limit, where this system lets us make one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", limit, "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a good request, its original, and a result."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EXPUNGE_KEY_FILE", str(tmp_path / "key"))
    load_or_create_key()
    good = {**SMALL, "sanity_check": False}
    Path("r.yaml").write_text(json.dumps({**good, "checkpoint": "w.safetensors"}))
    Path("t.yaml").write_text(json.dumps({**good, "train": {"epochs": 1}}))
    Path("result.json").write_text(json.dumps(whole_result()))
    save_weights(build_model("small_cnn", classes=10, channels=1, width=4), "w.safetensors")
    return tmp_path


def left(folder: Path) -> list[str]:
    """Return what a process has left half written."""
    return [str(path) for path in folder.rglob("*.tmp*")]


@pytest.mark.parametrize(
    "command",
    [
        "run r.yaml --out disk/run --ledger disk/ledger.sqlite",
        "train t.yaml --out disk/run",
        "report result.json --out disk/x.md",
        "report result.json --out disk/figures --format svg",
    ],
)
def test_no_inode_left(command, place):
    ended = []
    for count in FEW:
        with disk(place / "disk", f"nr_inodes={count}") as room:
            done = CliRunner().invoke(app, command.split())
            lines = done.stderr.strip().splitlines()
            assert done.exception is None or isinstance(done.exception, SystemExit), (count, done.exception)
            assert done.exit_code == 0 or (done.exit_code, len(lines)) == (2, 1), (count, lines)
            assert done.exit_code == 0 or "no space left" in lines[0].lower(), lines
            assert left(room) == []
            ended.append(done.exit_code)
    assert ended[-1] == 0
    assert ended == sorted(ended, reverse=True), "more room is never worse"


def calls(room: Path) -> dict[str, object]:
    """Return calls that write, by name."""
    torch.manual_seed(0)
    inputs, labels = torch.randn(40, 4), torch.arange(40) % 3
    sides = {"forget": (inputs[:6], labels[:6]), "retain": (inputs[6:], labels[6:])}
    given = {**sides, "method": "rl", "epochs": 1, "sanity_check": False}
    result = flat_unlearn(nn.Linear(4, 3), **given)
    return {
        "Result.save": lambda: result.save(room / "run"),
        "unlearn resume": lambda: flat_unlearn(nn.Linear(4, 3), **given, config=RunConfig(checkpoints=room / "points")),
        "unlearn ledger": lambda: flat_unlearn(nn.Linear(4, 3), **given, ledger=room / "ledger.sqlite"),
        "Ledger": lambda: stream(room / "ledger.sqlite", 2) or Ledger(room / "ledger.sqlite").entries(),
        "save_weights": lambda: save_weights(nn.Linear(4, 3), room / "w.safetensors"),
        "save_report": lambda: save_report(whole_result(), room / "x.html"),
    }


@pytest.mark.parametrize("limit", ["nr_inodes=2", "nr_inodes=3", "nr_inodes=5", "size=4k", "size=16k", "size=64k"])
def test_calls_on_a_full_disk(limit, place):
    wrong = []
    for name, call in calls(place / "disk").items():
        with disk(place / "disk", limit) as room:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                warnings.simplefilter("ignore", FitWarning)
                wrong += [f"{name}: {said}"] if (said := fault(call)) else []
            # An answer that the ledger could not take is kept, and said to be missing there.
            wrong += [f"{name}: {one.message}" for one in warned if "ledger.sqlite" not in str(one.message)]
            wrong += [f"{name}: {rest} is left" for rest in left(room)]
    assert wrong == []


def test_a_full_disk_keeps_what_was_there(place):
    with disk(place / "disk", "size=64k") as room:
        path = save_weights(nn.Linear(4, 3), room / "w.safetensors")
        before = path.read_bytes()
        (room / "filler").write_bytes(bytes(os.statvfs(room).f_bavail * os.statvfs(room).f_bsize))
        assert shutil.disk_usage(room).free == 0
        assert fault(lambda: save_weights(nn.Linear(40, 30), path, overwrite=True)) == ""
        assert path.read_bytes() == before
