"""The benchmark of whole loops: it runs, and gives each part of a run its own time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import run_profile
from throughput_tables import DEMO_TABLES, THROUGHPUT_TABLES

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
    assert all("ResNet-8" in table(found) for table in THROUGHPUT_TABLES[:2])
    assert "run" not in found


def test_time_in_a_part_that_another_calls_is_its_own(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 6.0, 10.0])
    monkeypatch.setattr(run_profile.time, "process_time", lambda: next(now))
    clock = run_profile.Clock()
    with clock.part("outer"), clock.part("inner"):
        pass
    assert clock.seconds == {"everything else": 1.0, "outer": 2.0 + 4.0, "inner": 3.0}


@pytest.mark.parametrize("part", THROUGHPUT_TABLES)
def test_tables_come_from_the_committed_result(part):
    assert part(json.loads((ROOT / "docs" / "results" / "throughput.json").read_text())).startswith("| ")


def test_the_profile_of_the_demo_shares_out_all_of_its_time():
    found = json.loads((ROOT / "docs" / "results" / "demo-profile.json").read_text())
    assert sum(part["seconds"] for part in found["parts"].values()) == pytest.approx(found["seconds"], abs=0.1)
    assert sum(part["share"] for part in found["parts"].values()) == pytest.approx(1.0, abs=1e-3)
    assert all(name in DEMO_TABLES[0](found) for name in found["parts"])


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
