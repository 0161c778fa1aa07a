"""Sweeps of knobs: the same budget for each, fronts and areas from the cells, tables and figures."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from small_recipes import carried_out, cell_of, folders_in, recipe_in, written
from typer.testing import CliRunner

from expunge.benchmark import run_sweep
from expunge.benchmark.cells import BenchmarkCell
from expunge.benchmark.sweep import prepare_sweep
from expunge.benchmark.sweep_grids import DEFAULT_GRID, SWEEP_GRIDS, choose_sweep_grid, parse_params
from expunge.cli import app
from expunge.errors import ConfigError
from expunge.methods import build_method
from expunge.report import pareto_figure, pareto_table

METHODS = "[{name: ft, epochs: 1}, {name: rl, epochs: 1, label: <RL>}]"
GRIDS = {"": {"lr": [0.001, 0.1]}}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Two methods at two rates, two requests, two seeds."""
    folder = tmp_path_factory.mktemp("sweep")
    recipe = recipe_in(folder, ("tune",), methods=METHODS)
    return recipe, folder, run_sweep(recipe, folders_in(folder), GRIDS)


def test_points_are_means_of_paired_cells(sweep):
    recipe, folder, found = sweep
    part = found["requests"][1]
    told = part["rows"][1]["points"][1]
    assert told["value"] == 0.1
    distances, tests = [], []
    for seed in recipe.seeds:
        scores = folders_in(folder).load(cell_of(recipe, "rl", 1, seed, lr=0.1))["scores"]
        target = folders_in(folder).load(BenchmarkCell(recipe, "retrained", 1, seed))["scores"]
        distances.append(-abs(scores["ua"] - target["ua"]))
        tests.append(scores["ta"])
    assert told["forgetting"]["values"] == distances
    assert told["ta"]["mean"] == pytest.approx(np.mean(tests))
    assert told["ta"]["half_width"] > 0


def test_forgetting_a_class_is_its_error_and_of_examples_the_distance(sweep):
    whole, single = sweep[2]["requests"]
    assert whole["reference_point"] == [0.0, 0.0]
    assert single["reference_point"] == [-20.0, 0.0]
    assert single["models"]["retrained"]["forgetting"]["values"] == [0.0, 0.0]
    assert all(value >= 0 for value in whole["models"]["retrained"]["forgetting"]["values"])


def test_areas_are_those_of_each_seed(sweep):
    part = sweep[2]["requests"][0]
    for row in part["rows"]:
        for place, _ in enumerate(part["seeds"]):
            corners = [(one["forgetting"]["values"][place], one["ta"]["values"][place]) for one in row["points"]]
            (a, b), (c, d) = corners
            union = a * b + c * d - min(a, c) * min(b, d)
            assert row["hypervolume"]["ta"]["values"][place] == pytest.approx(union / 10_000)


def test_some_point_of_every_utility_is_on_the_front(sweep):
    for part in sweep[2]["requests"]:
        every = [one for row in part["rows"] for one in row["points"]]
        for name in ("ra", "ta"):
            best = max(every, key=lambda one: (one[name]["mean"], one["forgetting"]["mean"]))
            assert name in best["front"]


def test_a_bench_finds_the_cells_of_a_sweep(sweep):
    folder = sweep[1]
    same = recipe_in(folder, ("tune",), methods="[{name: ft, epochs: 1, lr: 0.1}]")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
    state = carried_out(same, folder)
    assert not state.missing
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
    assert after == before


def test_table_and_figure_show_every_point_and_escape_what_users_write(sweep):
    for part in sweep[2]["requests"]:
        table = pareto_table(part)
        assert table.count("\n| ") >= 2 + 4
        assert r"\<RL\>" in table
        assert "<RL>" not in table
        for utility in ("ra", "ta"):
            root = ET.fromstring(pareto_figure(part, utility))
            titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")][1:]
            points = [(row, point) for row in part["rows"] for point in row["points"]]
            assert len(titles) == len(points) + 2
            for row, point in points:
                words = f"{row['label']}, {row['knob']} {point['value']:g}: "
                assert any(title.startswith(words) for title in titles)
            assert "<RL>" in [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_failed_cell_leaves_a_gap_that_is_told(tmp_path):
    recipe = recipe_in(
        tmp_path,
        ("tune",),
        methods="[{name: ga, epochs: 40, max_grad_norm: null}]",
        requests="[{class: 3}]",
        seeds="[0]",
    )
    part = run_sweep(recipe, folders_in(tmp_path), {"": {"lr": [0.0001, 1.0e30]}})["requests"][0]
    points = part["rows"][0]["points"]
    assert [one["ta"]["mean"] is None for one in points] == [False, True]
    assert part["incomplete"][0]["lr"] == 1.0e30
    assert "Without figures" in pareto_table(part)
    assert pareto_figure(part).startswith("<svg")


@pytest.mark.parametrize("name", SWEEP_GRIDS)
def test_every_knob_of_the_table_is_a_setting_of_its_method(name):
    ((knob, values),) = SWEEP_GRIDS[name].items()
    assert len(values) == 4
    for value in values:
        assert build_method(name, **{knob: value}).settings()[knob] == value


def test_each_method_has_its_own_knob_unless_the_caller_says_otherwise(tmp_path):
    methods = '[ft, {name: "eupmu + feasible(lenient, delta=0.1)", id: masked}, neggrad_plus, auto, retrain, salun]'
    recipe = recipe_in(tmp_path, ("tune",), methods=methods, budget="10.0")
    alone, grids = prepare_sweep(recipe, {})
    assert list(grids) == ["ft", "masked", "neggrad_plus", "auto", "salun"]
    assert grids["masked"] == SWEEP_GRIDS["eupmu"]
    assert grids["salun"] == DEFAULT_GRID
    assert next(iter(grids["auto"])) == "tolerance"
    assert alone.budget is None
    assert choose_sweep_grid(recipe.methods[0], parse_params(["lr=1,2", "salun:mask_fraction=0.5"])) == {
        "lr": [1.0, 2.0]
    }
    with pytest.raises(ConfigError, match="masked: 4, neggrad_plus: 4, auto: 4, salun: 2"):
        prepare_sweep(recipe, parse_params(["salun:mask_fraction=0.2,0.5"]))
    with pytest.raises(ConfigError, match="'knob'"):
        prepare_sweep(recipe, parse_params(["knob=0.2,0.5"]))
    with pytest.raises(ConfigError, match="a setting with numbers"):
        parse_params(["lr=fast"])


def test_the_command_writes_result_tables_and_figures(tmp_path):
    path = written(tmp_path, ("tune",), methods="[{name: ft, epochs: 1}]", requests="[{class: 3}]", seeds="[0]")
    places = ["--cells-dir", str(tmp_path / "out"), "--out", str(tmp_path / "result"), "--param", "lr=0.01,0.1"]
    said = CliRunner().invoke(app, ["sweep", str(path), *places])
    assert said.exit_code == 0, said.output
    assert sorted(file.name for file in (tmp_path / "result").iterdir()) == [
        "tiny-class-3-ra.svg",
        "tiny-class-3-ta.svg",
        "tiny.json",
        "tiny.md",
    ]
    result = json.loads((tmp_path / "result" / "tiny.json").read_text())
    assert result["command"].endswith("tiny.yaml --param lr=0.01,0.1")
    assert [one["value"] for one in result["requests"][0]["rows"][0]["points"]] == [0.01, 0.1]
