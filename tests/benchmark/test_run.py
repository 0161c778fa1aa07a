"""Carrying out a recipe: pairing, tuning, and what is left after every kind of interruption."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from rich.console import Console
from scipy import stats
from small_recipes import carried_out, cell_of, figures, folders_in, recipe_in, written

import expunge
from expunge.batch import Predictor
from expunge.benchmark import get_benchmark_state, load_recipe, summarize_benchmark
from expunge.benchmark.cell_runner import CellRunner
from expunge.benchmark.cells import BenchmarkCell, Network
from expunge.benchmark.plan import list_tuning_items
from expunge.benchmark.tuning import select_setting, tuning_loss
from expunge.benchmark.workers import BUSY, MADE, run_if_missing
from expunge.data import ByClass, Subset, get_root_indices, split_request
from expunge.errors import DataError
from expunge.metrics import AVERAGE_GAP, collect_model_outputs
from expunge.report.document import read_document
from expunge.tasks.classification.models import small_cnn
from expunge.tasks.classification.readers import digits
from expunge.tasks.classification.training import TrainSettings, train_classifier
from expunge.weights import load_into


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The small recipe, carried out in one go."""
    folder = tmp_path_factory.mktemp("study")
    recipe = recipe_in(folder)
    with (folder / "said.txt").open("w") as file:
        state = carried_out(recipe, folder, console=Console(file=file, width=200))
    return recipe, folder, state


SMALL = {"requests": "[{fraction: 0.1}]", "seeds": "[0]", "methods": "[{name: ft, epochs: 1}, {name: rl, epochs: 1}]"}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """What one request at one seed gives in one process, without tuning."""
    folder = tmp_path_factory.mktemp("small")
    carried_out(recipe_in(folder, ("tune",), **SMALL), folder)
    return figures(folder)


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}


def test_everything_is_made_and_said_in_order(study):
    _, folder, state = study
    assert not state.missing
    assert not state.failed
    assert state.undecided == 0
    lines = (folder / "said.txt").read_text().splitlines()
    assert len(lines) == len(state.finished) == 9 + 2 * (5 + 4 + 4)
    seeds = [int(line.split("seed ")[1].split()[0]) for line in lines]
    assert seeds == [1000] * 9 + [0] * 13 + [1] * 13
    assert not list(folder.rglob(".*"))


def test_a_second_run_makes_nothing(study):
    recipe, folder, _ = study
    before = times(folder)
    carried_out(recipe, folder)
    assert times(folder) == before


def test_a_cell_says_what_it_was_made_with(study):
    folder = study[1]
    folders = folders_in(folder)
    cell = next(item for item in study[2].finished if isinstance(item, BenchmarkCell) and item.role == "method")
    found = folders.load(cell)
    assert found["recipe"] == cell.canonical_config
    assert found["recipe"]["request"]["seed"] == 0
    assert found["versions"]["expunge"] == expunge.__version__
    assert found["hardware"]["threads"] == 1
    assert 0 < found["seconds"] < found["wall_seconds"]
    assert found["process_seconds"] > 0
    assert {"ua", "ra", "ta", "mia", "avg_gap", "tow", "auc"} <= found["scores"].keys()
    assert found["settings"]["epochs"] == 1
    commit = found["commit"]
    assert commit is None or len(commit.split()[0]) == 40


def test_a_cell_is_what_python_gives_for_the_same_request(study):
    """The slow way: data, network, split and unlearning by hand."""
    recipe, folder, _ = study
    seed, folders = 1, folders_in(folder)
    source = digits(test_share=0.5).subset(120, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = small_cnn(10, 1, width=4)
    train_classifier(
        model, source.train, TrainSettings(epochs=2, batch_size=32, lr=0.05, schedule="one_cycle", seed=seed)
    )
    parts = split_request(source.train, ByClass(3))
    forget, retain = (Subset(source.train, part) for part in parts)
    more = dict(select_setting(recipe, 0, recipe.methods[0], folders.load))
    result = expunge.unlearn(model, forget=forget, retain=retain, method="ft", epochs=1, seed=seed, **more)
    order = torch.randperm(len(source.test), generator=torch.Generator().manual_seed(0))
    held, aside = round(0.4 * len(order)), round(0.1 * len(order))
    test = Subset(source.test, order[held + aside :])
    scores = expunge.evaluate(result, test=test).scores
    found = folders.load(cell_of(recipe, "ft", seed=seed, **more))["scores"]
    assert {key: found[key] for key in ("ua", "ra", "ta", "mia", "auc")} == pytest.approx(
        {key: scores[key] for key in ("ua", "ra", "ta", "mia", "auc")}
    )


def test_the_noise_floor_is_the_gap_of_two_retrained_networks(study):
    recipe, folder, _ = study
    folders = folders_in(folder)
    maker = CellRunner(recipe, folders)
    floors = []
    for seed in recipe.seeds:
        outputs = []
        for number in (1, 2):
            model = small_cnn(10, 1, width=4)
            load_into(model, folders.weights_path(Network(recipe, seed, 1, number)))
            case = maker.case(1, seed)
            outputs.append(collect_model_outputs(Predictor(model), case.split, case.test))
        floors.append(np.mean([AVERAGE_GAP(*outputs), AVERAGE_GAP(*reversed(outputs))]))
    part = summarize_benchmark(recipe, folders)["requests"][1]
    assert part["noise_floor"]["values"] == pytest.approx(floors)
    assert floors[0] > 0


def test_one_reference_leaves_the_noise_floor_open_and_the_rest_as_it_is(small, tmp_path):
    recipe = recipe_in(tmp_path, ("tune",), **SMALL, num_retrained="1")
    carried_out(recipe, tmp_path)
    assert len(list((tmp_path / "networks").glob("*.safetensors"))) == 2
    alone = figures(tmp_path)
    assert alone.keys() & small.keys() == {name for name in alone if alone[name] == small.get(name)}
    assert len(alone.keys() & small.keys()) == 3
    made = summarize_benchmark(recipe, folders_in(tmp_path))
    assert made["requests"][0]["noise_floor"]["mean"] is None
    assert not made["requests"][0]["incomplete"]


@pytest.mark.parametrize(("device", "shown"), [("cpu (x86_64)", False), ("cuda (a device)", True)])
def test_peak_memory_is_noted_and_shown_where_it_says_something(study, tmp_path, device, shown):
    """A processor's is that of a worker, which uses memory of earlier cells again."""
    recipe, folder, _ = study
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    folders = folders_in(tmp_path)
    for path in (tmp_path / "cells").glob("*.json"):
        facts = json.loads(path.read_text())
        if "settings" in facts:
            assert facts["peak_bytes"] is None or facts["peak_bytes"] >= 0
            facts |= {"peak_bytes": 3 * 2**20, "hardware": {**facts["hardware"], "device": device}}
            path.write_text(json.dumps(facts))
    part = summarize_benchmark(recipe, folders)["requests"][0]
    found = [row["scores"].get("peak_memory") for row in part["rows"] if row["role"] == "method"]
    assert ("peak_memory" in [column["key"] for column in part["metrics"]]) == shown
    assert all((each is not None and each["mean"] == 3.0) == shown for each in found)


def test_the_summary_is_made_of_the_cells(study):
    recipe, folder, _ = study
    found = summarize_benchmark(recipe, folders_in(folder))
    read_document(found)
    part = found["requests"][1]
    assert part["incomplete"] == []
    assert [row["key"] for row in part["rows"]] == ["original", "retrain", "ft", "labels"]
    more = dict(select_setting(recipe, 1, recipe.methods[1], folders_in(folder).load))
    values = [
        json.loads(folders_in(folder).path(cell_of(recipe, "labels", 1, seed, **more)).read_text())["scores"]["avg_gap"]
        for seed in (0, 1)
    ]
    told = part["rows"][3]["scores"]["avg_gap"]
    assert told["values"] == values
    assert told["mean"] == pytest.approx(np.mean(values))
    assert told["half_width"] == pytest.approx(stats.t.ppf(0.975, 1) * np.std(values, ddof=1) / np.sqrt(2))
    tuned = next(one for one in found["tuning"] if (one["request"], one["row"]) == ("fraction-0.1", "labels"))
    assert tuned["chosen"] == more
    assert {one["lr"] for one in tuned["trials"]} == {0.002, 0.02}
    assert min(tuned["trials"], key=lambda one: one["badness"])["lr"] == more["lr"]


def test_tuning_reads_neither_references_nor_test_nor_held_out_examples(study):
    recipe, folder, _ = study
    cells = [item for item in list_tuning_items(recipe) if isinstance(item, BenchmarkCell)]
    assert {network.request for cell in cells for network in cell.needs} == {None}
    assert all("scores" not in folders_in(folder).load(cell) for cell in cells)
    maker = CellRunner(recipe, folders_in(folder))
    asides = [set(get_root_indices(maker.case(0, seed).tuning).tolist()) for seed in (1000, 0, 1)]
    assert asides[0] == asides[1] == asides[2]
    for seed in (0, 1, 1000):
        case = maker.case(0, seed)
        others = [set(get_root_indices(part).tolist()) for part in (case.test, case.split.holdout)]
        assert not asides[0] & others[0]
        assert not asides[0] & others[1]
        assert not others[0] & others[1]


def test_the_choice_needs_every_trial_and_leaves_failures_out(tmp_path):
    recipe = recipe_in(tmp_path)
    entry = recipe.methods[1]

    def found(said):
        return lambda cell: said[dict(cell.tuned_settings)["lr"]]

    before = {"retain": 100.0, "held": 90.0}
    good = {"tuning": {"now": {"forget": 90.0, "retain": 99.0, "held": 90.0}, "before": before}}
    bad = {"tuning": {"now": {"forget": 50.0, "retain": 99.0, "held": 90.0}, "before": before}}
    failure = {"failure": {"type": "NotFiniteError", "sentence": "…"}}
    assert select_setting(recipe, 1, entry, found({0.002: bad, 0.02: good})) == (("lr", 0.02),)
    assert select_setting(recipe, 1, entry, found({0.002: bad, 0.02: failure})) == (("lr", 0.002),)
    assert select_setting(recipe, 1, entry, found({0.002: failure, 0.02: failure})) == (("lr", 0.002),)
    assert select_setting(recipe, 1, entry, found({0.002: bad, 0.02: None})) is None


def test_a_class_that_is_still_recognized_is_worse_than_any_loss_of_accuracy():
    forgot = {"held_class": 0.5, "held_others": 60.0}
    knows = {"held_class": 2.0, "held_others": 95.0}
    assert tuning_loss(forgot, {}) < tuning_loss(knows, {})
    assert tuning_loss({"held_class": 0.0, "held_others": 70.0}, {}) < tuning_loss(forgot, {})


def test_more_jobs_give_the_same_results(small, tmp_path):
    state = carried_out(recipe_in(tmp_path, ("tune",), **SMALL), tmp_path, jobs=2)
    assert not state.missing
    assert not state.failed
    assert figures(tmp_path) == small


def test_a_killed_run_goes_on_and_ends_the_same(small, tmp_path):
    path = written(tmp_path, ("tune",), **SMALL)
    recipe = load_recipe(path)
    words = [
        "benchmark",
        str(path),
        "--cells-dir",
        str(tmp_path / "cells"),
        "--networks-dir",
        str(tmp_path / "networks"),
    ]
    with subprocess.Popen([sys.executable, "-m", "expunge", *words], stdout=subprocess.DEVNULL) as process:
        limit = time.monotonic() + 90
        while not list((tmp_path / "networks").glob("*.json")) and time.monotonic() < limit:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    left = get_benchmark_state(recipe, folders_in(tmp_path))
    assert left.finished
    assert left.missing
    carried_out(recipe, tmp_path)
    assert figures(tmp_path) == small
    assert not list(tmp_path.rglob(".*.tmp"))


@pytest.mark.parametrize("damage", ["half a cell", "weights without facts", "facts without weights"])
def test_what_is_half_written_is_not_taken_for_whole(damage, tmp_path):
    one = recipe_in(tmp_path, ("tune",), requests="[{class: 3}]", seeds="[0]", methods="[{name: ft, epochs: 1}]")
    carried_out(one, tmp_path)
    before, folders = figures(tmp_path), folders_in(tmp_path)
    cell, network = cell_of(one, "ft"), Network(one, 0)
    if damage == "half a cell":
        text = folders.path(cell).read_text()
        folders.path(cell).write_text(text[: len(text) // 2])
    elif damage == "weights without facts":
        folders.path(network).unlink()
        folders.weights_path(network).write_bytes(folders.weights_path(network).read_bytes()[:100])
    else:
        folders.weights_path(network).unlink()
    (folders.out / f".{cell.key}.json.12ab.tmp").write_text("{")
    damaged = get_benchmark_state(one, folders).missing
    assert damaged == ((cell,) if damage == "half a cell" else (network,))
    carried_out(one, tmp_path)
    assert figures(tmp_path) == before
    assert folders.weights_path(network).stat().st_size > 1000


def test_an_item_is_made_by_one_process_at_a_time(study, tmp_path):
    recipe, _, _ = study
    folders = folders_in(tmp_path)
    folders.create()
    maker, item = CellRunner(recipe, folders), Network(recipe, 0)
    with folders.lock(item) as mine:
        assert mine
        assert run_if_missing(maker, item) == BUSY
        assert folders.load(item) is None
    assert run_if_missing(maker, item) == MADE
    written_at = folders.path(item).stat().st_mtime_ns
    assert run_if_missing(maker, item) == MADE
    assert folders.path(item).stat().st_mtime_ns == written_at


def test_a_failure_is_recorded_shown_and_retried_on_request_alone(tmp_path):
    lines = {"requests": "[{class: 3}]", "seeds": "[0]"}
    methods = "[{name: ft, epochs: 1}, {name: ga, epochs: 40, lr: 1.0e+30, max_grad_norm: null, id: wild}]"
    recipe = recipe_in(tmp_path, ("tune",), methods=methods, **lines)
    state = carried_out(recipe, tmp_path)
    folders, cell = folders_in(tmp_path), cell_of(recipe, "wild")
    assert state.failed == (cell,)
    failure = folders.load(cell)["failure"]
    assert failure["type"] == "NotFiniteError"
    assert failure["sentence"].startswith("Expected finite")
    part = summarize_benchmark(recipe, folders)["requests"][0]
    assert part["incomplete"] == [{"row": "wild", "seed": 0, "what": "NotFiniteError", "sentence": failure["sentence"]}]
    assert part["rows"][-1]["scores"] == {}
    before = times(folders.out)
    carried_out(recipe, tmp_path)
    assert times(folders.out) == before
    carried_out(recipe, tmp_path, retry_failed=True)
    after = times(folders.out)
    assert {path.stem for path in after if after[path] != before[path]} == {cell.key}


def test_a_network_that_cannot_be_trained_fails_its_cells_with_the_reason(tmp_path):
    lines = {"requests": "[{class: 3}]", "seeds": "[0]", "methods": "[{name: ft, epochs: 1}]"}
    recipe = recipe_in(tmp_path, ("tune",), train="{epochs: 2, lr: 1.0e+30}", **lines)
    state = carried_out(recipe, tmp_path)
    assert len(state.failed) == len([*state.failed, *state.finished, *state.missing]) == 6
    cells = [item for item in state.failed if isinstance(item, BenchmarkCell)]
    assert all("training loss" in folders_in(tmp_path).load(cell)["failure"]["sentence"] for cell in cells)


def test_a_cell_whose_data_cannot_be_had_is_refused_in_one_sentence_and_the_others_go_on(tmp_path, monkeypatch):
    load_case = CellRunner.load_case

    def too_few_at_seed_1(runner, request, seed):
        if seed == 1:
            raise DataError("at least one example to forget", "none", "forget more")
        return load_case(runner, request, seed)

    monkeypatch.setattr(CellRunner, "load_case", too_few_at_seed_1)
    recipe = recipe_in(tmp_path, without=("tune",), requests="[{class: 3}]", methods="[{name: ft, epochs: 1}]")
    carried_out(recipe, tmp_path)
    folders = folders_in(tmp_path)
    assert "scores" in folders.load(cell_of(recipe, "ft"))
    failure = folders.load(cell_of(recipe, "ft", seed=1))["failure"]
    assert failure["sentence"] == "Expected at least one example to forget, but found none: forget more."


def test_missing_cells_are_shown_as_such(study, tmp_path):
    recipe = recipe_in(tmp_path, seeds="[0, 1, 2]")
    part = summarize_benchmark(recipe, folders_in(study[1]))["requests"][0]
    assert {(one["row"], one["seed"], one["what"]) for one in part["incomplete"]} == {
        (row, 2, "missing") for row in ("original", "retrain", "ft", "labels")
    }
    assert part["rows"][2]["scores"]["ua"]["values"][2] is None


def test_what_no_cell_could_do_without_is_refused_first(tmp_path):
    for lines, said in [
        ({"methods": "[{name: ft, lrr: 1.0}]"}, "line 7.*did you mean 'lr'"),
        ({"requests": "[{class: nine}]"}, "line 5"),
        ({"model": "{name: small_cnn, options: {classes: 3}}"}, "labels from 0 to 2"),
    ]:
        recipe = recipe_in(tmp_path, ("tune",), **{"methods": "[ft]", **lines})
        with pytest.raises(expunge.errors.ExpungeError, match=said):
            carried_out(recipe, tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def test_a_budget_is_told_with_the_drop_on_examples_that_nobody_looked_at(tmp_path):
    lines = {"requests": "[{class: 3}]", "seeds": "[0]", "methods": "[{name: random_labels_with_budget, epochs: 1}]"}
    lines["train"] = "{epochs: 12, batch_size: 16, lr: 0.1}"  # a model at chance gets no budget
    recipe = recipe_in(tmp_path, ("tune",), budget="20.0", **lines)
    carried_out(recipe, tmp_path)
    found = folders_in(tmp_path).load(cell_of(recipe, "random_labels_with_budget"))
    assert found["budget"]["limit"]["accuracy_points"] == 20
    original = folders_in(tmp_path).load(BenchmarkCell(recipe, "original", 0, 0))
    assert found["true_drop"] == pytest.approx(original["scores"]["ta"] - found["scores"]["ta"])
    told = summarize_benchmark(recipe, folders_in(tmp_path))["requests"][0]["budgets"]["random_labels_with_budget"]
    assert [one["true_drop"] for one in told] == [found["true_drop"]]
    assert told[0]["within_budget"] is found["budget"]["within_budget"]
    looks = found["budget"]["evaluations"]
    assert [look["spent"] for look in told[0]["evaluations"]] == [look["spent"] for look in looks]
    assert told[0]["chosen"] == found["budget"]["chosen"]
