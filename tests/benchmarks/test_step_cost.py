"""The benchmark of an update's cost covers everything registered, and its figures follow from its measurements."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import tables

from expunge import registry

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "step_cost.py"
NEEDY = set() if find_spec("cvxpy") else {"cagrad", "nash_mtl"}
MEMORY = pytest.mark.skipif(sys.platform != "linux", reason="peak memory is measured on Linux alone")


def measure(target, *more):
    arguments = ["--quick", "--threads", "1", "--networks", "small_cnn", "--json", str(target), *more]
    # An allocator that has been told something spares the command its second start.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "80"}
    environment["MALLOC_TRIM_THRESHOLD_"] = "1000000"
    return subprocess.run([sys.executable, SCRIPT, *arguments], env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    target = tmp_path_factory.mktemp("bench") / "cost.json"
    done = measure(target, "--no-memory")
    assert done.returncode == 0, done.stderr
    return json.loads(target.read_text()), done


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """Two of the candidates, with their memory."""
    target = tmp_path_factory.mktemp("bench") / "cost.json"
    done = measure(target, "--only", "projection,keep_unless_harmful")
    assert done.returncode == 0, done.stderr
    return json.loads(target.read_text())


def rows_of(document):
    network = document["networks"]["small_cnn"]
    return {**network["candidates"], **network["masks"]}


def page(document):
    return tables.step_cost(json.loads(json.dumps(document), object_hook=tables.read_object))


def test_every_registered_surgery_and_mask_is_measured_or_named_as_missing(everything):
    network = everything[0]["networks"]["small_cnn"]
    assert set(network["candidates"]) == {"joint", "split", *registry.list_entries("surgeries")} - NEEDY
    assert {name.split(" + ")[1] for name in network["masks"]} == set(registry.list_entries("masks"))
    assert set(network["not_installed"]) == NEEDY
    shown = page(everything[0])
    for kind in ("surgeries", "masks"):
        for name in registry.list_entries(kind):
            assert f"| {name} | not installed |" in shown if name in NEEDY else f"{name} | " in shown, name


def test_the_floor_is_the_cheaper_way_and_ratios_are_paired(everything):
    network = everything[0]["networks"]["small_cnn"]
    rows, floor = network["candidates"], network["floor"]["time"]
    assert rows[floor]["seconds"]["median"] == min(rows[way]["seconds"]["median"] for way in ("joint", "split"))
    for row in rows.values():
        base = dict(zip(rows[floor]["rounds"], rows[floor]["seconds_by_round"], strict=True))
        pairs = [a / base[n] for n, a in zip(row["rounds"], row["seconds_by_round"], strict=True)]
        # Seconds are written to the microsecond: an update of a few milliseconds is known to some 1e-3.
        assert row["ratio"]["median"] == pytest.approx(statistics.median(pairs), rel=5e-3)
    for row in rows_of(everything[0]).values():
        assert all(second > 0 for second in row["seconds_by_round"])
        assert row["ratio"]["low"] <= row["ratio"]["median"] <= row["ratio"]["high"]
        assert row["aim"] is None or row["aim"]["met"] == (row["ratio"]["median"] <= row["aim"]["at_most"])


def test_slow_rules_are_repeated_less_often(everything):
    rows = everything[0]["networks"]["small_cnn"]["candidates"]
    assert len(rows["robust_projection"]["rounds"]) < len(rows["weighted_sum"]["rounds"]) == everything[0]["rounds"]


def test_the_aims_are_judged_where_they_hold(everything):
    aims = {name: row["aim"]["at_most"] for name, row in rows_of(everything[0]).items() if row["aim"] is not None}
    surgeries = {"weighted_sum": 1.03, "eupmu_fast": 1.05, "projection": 1.08, "eupmu": 1.25, "lur": 1.6}
    assert aims == surgeries | dict.fromkeys(
        ("weighted_sum + keep_unless_harmful", "eupmu + keep_unless_harmful", "weighted_sum + keep_if_harmless"), 1.15
    )


def test_the_certificate_is_told_apart(everything):
    """One block was measured, so that the medians are sums of one another."""
    rows = everything[0]["networks"]["small_cnn"]["masks"]
    whole, inner = rows["weighted_sum + sequential_test"], rows["weighted_sum + keep_unless_harmful"]
    found, ten = whole["certificate"], pytest.approx
    assert found["seconds"]["median"] == ten(whole["seconds"]["median"] - inner["seconds"]["median"], abs=2e-6)
    assert found["over_base"]["median"] == ten(whole["ratio"]["median"] - inner["ratio"]["median"], abs=2e-6)
    assert found["share"]["median"] == ten(found["seconds"]["median"] / whole["seconds"]["median"], abs=2e-3)
    assert 0.5 < found["share"]["median"] < 1
    assert "its certificate alone" in page(everything[0])


@MEMORY
def test_peaks_are_those_of_an_update(part):
    found = {
        name: rows_of(part)[name]
        for name in ("projection", "weighted_sum + keep_unless_harmful", "eupmu + keep_unless_harmful")
    }
    peaks = [row[key]["peak_bytes"] for row in found.values() for key in ("memory", "memory_bf16") if row.get(key)]
    assert len(peaks) == 5
    # Momentum and gradients are .2 MB, a first Adam step loads 23; counted libraries would show a hundred.
    assert all(0 < peak < 50e6 for peak in peaks), peaks


def test_a_part_is_measured_alone(part):
    (run,) = part["runs"]
    assert {row["run"] for row in rows_of(part).values()} == {run}
    assert part["runs"][run]["command"].endswith("--json cost.json --only projection,keep_unless_harmful")
    assert f"{len(rows_of(part))} of {len(rows_of(part))} rows" in page(part)


def test_names_that_are_not_there_are_refused(tmp_path):
    done = measure(tmp_path / "cost.json", "--only", "weighted_sum,nothing")
    assert done.returncode == 2
    assert "has the name nothing" in done.stderr


def test_the_printed_tables_are_those_of_the_page(everything):
    document, done = everything
    assert done.stdout.strip() == page(document).strip()
    assert "**small CNN**, batch 4 + 4, normalization frozen, 1 threads. Floor of time: plain" in done.stdout
