"""The benchmark of whole loops: it runs, and gives each part of a run its own time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import run_profile
from tables import TABLES, read_object

ROOT = Path(__file__).parents[2]


def test_the_command_measures_both_loops(tmp_path):
    target = tmp_path / "found.json"
    arguments = ["--quick", "--threads", "1", "--networks", "resnet8", "--json", str(target)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "MALLOC_TRIM_THRESHOLD_": "1000000"}
    script = ROOT / "benchmarks" / "throughput.py"
    done = subprocess.run([sys.executable, script, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(target.read_text())
    assert found["loops"]["training"]["resnet8"]["rounds"] == found["loops"]["unlearning"]["resnet8"]["rounds"] == 2
    document = json.loads(target.read_text(), object_hook=read_object)
    assert all("ResNet-8" in table.write(document) for table in TABLES["throughput"][:2])
    assert "run" not in found


def test_time_in_a_part_that_another_calls_is_its_own(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 6.0, 10.0])
    monkeypatch.setattr(run_profile.time, "process_time", lambda: next(now))
    clock = run_profile.Clock()
    with clock.part("outer"), clock.part("inner"):
        pass
    assert clock.seconds == {"everything else": 1.0, "outer": 2.0 + 4.0, "inner": 3.0}


def test_a_call_is_shared_out_between_its_parts(monkeypatch):
    class Slow:
        def wait(self):
            pass

    now = iter([0.0, 1.0, 2.0, 4.0, 8.0])
    monkeypatch.setattr(run_profile.time, "process_time", lambda: next(now))
    found = run_profile.shares(lambda: Slow().wait(), [(Slow, "wait", "waiting")])
    parts = {name: part["seconds"] for name, part in found["parts"].items()}
    assert parts == {"waiting": 4.0 - 2.0, "everything else": (2.0 - 1.0) + (8.0 - 4.0)}
    assert found["seconds"] == 8.0 - 1.0
