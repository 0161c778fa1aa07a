"""A budget in a request file: what is read and refused, and what a run tells of it."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from small_requests import HELD_OUT, config, history_of, result_of, write_request, written
from typer.testing import CliRunner

from expunge.api import run_request
from expunge.budget import Budget, split_holdout
from expunge.cli import app
from expunge.data.manifest import hash_indices
from expunge.errors import ConfigError
from expunge.key import load_or_create_key
from expunge.ledger import BudgetRecord, Ledger, compute_chain_totals
from expunge.request.config import load_request
from expunge.tasks.classification.readers import digits
from expunge.tasks.classification.request import ClassificationConfig
from expunge.weights import load_weights, save_weights

DIGITS = {**HELD_OUT, "method": "{name: random_labels_with_budget, epochs: 3, lr: 0.01, batch_size: 32}"}
LONGER = "{name: neighbor_labels, epochs: 12, lr: 0.03, batch_size: 32}"
RUINOUS = "{name: random_labels_with_budget, epochs: 1, lr: 5.0, batch_size: 64}"
METRICS = """
def error(predict, examples):
    import torch
    batch = examples.batch(torch.arange(len(examples)))
    return (predict(batch.inputs).argmax(1) != batch.targets).float().mean()

def wrong(predict, examples):
    import torch
    batch = examples.batch(torch.arange(len(examples)))
    return predict(batch.inputs).argmax(1) != batch.targets

def failing(predict, examples):
    return {}["a"]

name = "error"
"""


@pytest.fixture
def place(folder, trained):
    """The folder of a user who has these weights, and metrics."""
    (folder / "original.safetensors").write_bytes(trained.read_bytes())
    (folder / "metrics.py").write_text(METRICS)
    return folder


def run(folder, console=None, *, overwrite=False, **changes):
    return run_request(config(folder, **{**DIGITS, **changes}), overwrite=overwrite, console=console)


def part_of(path):
    return result_of(path)["requests"][0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.5", {"accuracy_points": 1.5}),
        ("1", {"accuracy_points": 1.0}),
        ("{accuracy_points: 0}", {"accuracy_points": 0.0}),
        ("{loss_increase: 0.1}", {"loss_increase": 0.1}),
        ("{accuracy_points: 1, certify: false}", {"accuracy_points": 1.0, "certify": False}),
        ("{metric: a.b:c, max_drop: 0.01}", {"metric": "a.b:c", "max_drop": 0.01}),
        ("{metric: a.b:c, max_drop: 1, bounds: [0, 2]}", {"metric": "a.b:c", "max_drop": 1.0, "bounds": [0.0, 2.0]}),
        (
            "{metric: a.b:c, max_drop: 2, higher_is_better: false}",
            {"metric": "a.b:c", "max_drop": 2.0, "higher_is_better": False},
        ),
    ],
)
def test_units(folder, text, expected):
    read = config(folder, budget=text, holdout="0.3")
    assert read.budget.model_dump(exclude_none=True) == expected
    assert read.priority == "budget"
    again = ClassificationConfig.model_validate(
        json.loads(read.model_dump_json(by_alias=True, exclude_unset=True)), strict=False
    )
    assert again.budget == read.budget
    assert config(folder, budget=text, holdout="0.3", priority="forgetting").priority == "forgetting"


SENTENCES = {
    "two units": (
        {"budget": "{accuracy_points: 1, loss_increase: 0.1}"},
        "line 9: Expected exactly one of accuracy_points, loss_increase, metric, but found accuracy_points and "
        "loss_increase: keep one of them.",
    ),
    "no unit": (
        {"budget": "{}"},
        "line 9: Expected exactly one of accuracy_points, loss_increase, metric, but found none of them: write "
        "for example "
        "`budget: 1.0`.",
    ),
    "a text": (
        {"budget": "much"},
        "line 9: Expected a number of points, or a mapping with accuracy_points, loss_increase or metric, but found "
        "'much': write for example `budget: 1.0`.",
    ),
    "a truth value": ({"budget": "true"}, "line 9: Expected a number of points, or a mapping with accuracy_points"),
    "nothing": (
        {"budget": "-1"},
        "line 9: Expected a number greater than or equal to 0 for 'budget.accuracy_points', but fo",
    ),
    "infinite": ({"budget": ".inf"}, "line 9: Expected a finite number for 'budget.accuracy_points', but found inf"),
    "a metric without drop": ({"budget": "{metric: a.b:c}"}, "line 9: Expected max_drop beside metric, but found none"),
    "a drop alone": (
        {"budget": "\n  accuracy_points: 1\n  max_drop: 1"},
        "line 11: Expected max_drop beside metric only, but found it beside accuracy_points: remove it.",
    ),
    "a direction alone": (
        {"budget": "{accuracy_points: 1, higher_is_better: true}"},
        "line 9: Expected higher_is_better beside",
    ),
    "no path": (
        {"budget": "{metric: error, max_drop: 1}"},
        "line 9: Expected a Python path of the form package.module",
    ),
    "misspelled": (
        {"budget": "{point: 1}"},
        "line 9: Expected one of accuracy_points, loss_increase, metric, max_drop, higher_is_bette",
    ),
    "no holdout": (
        {"holdout": None, "budget": "1"},
        "line 8: Expected held-out examples to measure the budget on, but found no holdout: add for example "
        "`holdout: 0.3`.",
    ),
    "prefer alone": (
        {"priority": "forgetting"},
        "line 9: Expected priority beside a budget, but found no budget: add for example `budget: 1.0`, or remove it.",
    ),
    "prefer misspelled": (
        {"budget": "1", "priority": "forgeting"},
        "line 10: Expected one of budget, forgetting for 'pri",
    ),
}


@pytest.mark.parametrize(("changes", "expected"), SENTENCES.values(), ids=SENTENCES)
def test_a_wrong_section_is_refused_at_its_line(folder, changes, expected):
    file = write_request(folder, **{"holdout": "0.3", **changes})
    with pytest.raises(ConfigError) as caught:
        load_request(file)
    assert str(caught.value).startswith(f"request.yaml {expected}")


@pytest.mark.parametrize("key", ["budget", "priority"])
def test_models_that_read_prompts_have_no_budget(tmp_path, key):
    file = tmp_path / "request.yaml"
    file.write_text(f"task: stable_diffusion\nmodel: base\n{key}: budget\n")
    with pytest.raises(ConfigError) as caught:
        load_request(file)
    assert str(caught.value) == (
        f"request.yaml line 3: Expected '{key}' in a request to a classifier or a class-conditional diffusion model, "
        "but found it beside task: stable_diffusion: remove it; such a model has no budget so far."
    )


REFUSALS = {
    "a surgery without tolerance": (
        {"method": "{name: salun, epochs: 1}"},
        "line 5: Expected one descent whose surgery keeps a budget, but found WeightedSum: use "
        "method='random_labels_with_budget'",
    ),
    "an edit": ({"method": "ssd"}, "line 5: Expected one descent whose surgery keeps a budget, but found several stag"),
    "a tolerance beside it": (
        {"method": "\n  name: random_labels_with_budget\n  tolerance: 0.1"},
        "line 7: Expected a budget that alone decides how far the run goes, but found tolerance= beside it",
    ),
    "too small for the data": (
        {"budget": "0.0"},
        "line 9: Expected a budget above 0 with a certificate, but found one of 0 points, which no number of examples",
    ),
    "too few held out": ({"holdout": "0.1"}, "line 9: Expected at least 144 held-out examples of the classes"),
    "no such metric": (
        {"budget": "{metric: metrics:gone, max_drop: 0.1}"},
        "line 9: Expected 'gone' in the module 'metrics', but found no such name",
    ),
    "a metric that is none": (
        {"budget": "{metric: metrics:name, max_drop: 0.1}"},
        "line 9: Expected 'metrics:name' to be a function, but found str",
    ),
    "a metric that fails": (
        {"budget": "{metric: metrics:failing, max_drop: 0.1}"},
        "Expected a number from the metric 'failing', but found ",
    ),
}


@pytest.mark.parametrize(("changes", "expected"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("training", [False, True], ids=["given", "to be trained"])
def test_what_cannot_be_promised_is_refused_before_anything_is_written(place, changes, expected, training):
    more = {"checkpoint": "new.safetensors", "train": "{epochs: 1}"} if training else {}
    write_request(place, **{**DIGITS, "budget": "5.0", **changes, **more})
    before = written(place)
    result = CliRunner().invoke(app, ["run", "request.yaml"])
    assert (result.exit_code, result.stdout.strip()) == (2, "")
    assert expected in " ".join(result.stderr.split())
    assert written(place) == before


def test_a_budget_that_is_kept_is_told_by_result_manifest_history_report_and_ledger(place):
    screen = io.StringIO()
    console = Console(file=screen, width=80)
    path = run(place, console, budget="5.0", ledger="ledger.sqlite", seed="3", method=LONGER)
    part, text = part_of(path), screen.getvalue()
    told = part["budget"]
    assert (told["within_budget"], told["target_met"], told["limit"]["accuracy_points"]) == (True, True, 5.0)
    assert told["chosen"] > 0
    assert [look["step"] for look in told["evaluations"][1:]] == [
        row["step"] + 1 for row in history_of(path) if "spent" in row
    ]
    assert told["summary"] in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    page = (path / "report.html").read_text()
    assert 'id="request-1-budget"' in page
    assert "allowed: 5 points" in page
    assert json.loads((path / "config.json").read_text())["budget"]["accuracy_points"] == 5.0
    assert "control half" in result_of(path)["provenance"]

    unseen = digits(test_share=0.6).test
    order = torch.randperm(len(unseen), generator=torch.Generator().manual_seed(3))[: round(0.6 * len(unseen))]
    halves = split_holdout(unseen.targets[order], 3, excluded_classes=[3])
    manifest = json.loads((path / "manifest.json").read_text())["holdout"]
    for name, half in halves._asdict().items():
        assert manifest["sizes"][name] == told["examples"][name] == len(half)
        assert manifest["digest"][name] == hash_indices(order[half], load_or_create_key())

    (entry,) = Ledger(place / "ledger.sqlite").entries()
    certificate = told["certificate"]
    assert replace(entry.header.spent, opened="") == BudgetRecord(**part["spent"])
    assert (entry.header.spent.unit, entry.header.spent.budget, entry.header.spent.since) == ("points", 5.0, "request")
    assert entry.header.spent.bound == 100 * certificate["bound"]
    assert entry.header.spent.drop == 100 * certificate["drop"]
    assert (entry.header.spent.level, entry.header.spent.examples) == (0.05, len(halves.certify))
    assert not re.search(r"\d+, \d+, \d+", (path / "manifest.json").read_text())


def test_too_few_held_out_examples_serve_a_budget_without_a_certificate(place):
    path = run(
        place, budget="{accuracy_points: 5, certify: false}", holdout="0.1", ledger="ledger.sqlite", method=LONGER
    )
    part = part_of(path)
    told, sizes = part["budget"], json.loads((path / "manifest.json").read_text())["holdout"]["sizes"]
    assert (told["within_budget"], told["certificate"], told["certified"]) == (True, None, None)
    assert sizes == told["examples"] == {"control": part["spent"]["examples"], "certify": 0}
    assert "No certificate was asked for" in told["summary"]
    assert "None was asked for: all held-out examples steered" in (path / "report.html").read_text()
    (entry,) = Ledger(place / "ledger.sqlite").entries()
    assert (entry.header.spent.bound, entry.header.spent.level) == (None, None)


def test_a_second_request_on_the_same_held_out_data_is_not_certified_afresh(place):
    """Another class is left out of its halves, so that they are others; they overlap with those that were opened."""
    ledger = Ledger(place / "ledger.sqlite")
    run(place, budget="5.0", ledger="ledger.sqlite")
    again = {"checkpoint": "run/unlearned.safetensors", "forget": "{class: 4}", "out": "second"}
    run(place, budget="5.0", ledger="ledger.sqlite", seed="1", **again)
    entries = ledger.entries()
    (account,) = compute_chain_totals(entries, entries)
    assert account.reopened == (2,)
    assert account.bound is None
    assert account.budget == 10.0
    told, report = part_of(place / "second")["budget"], (place / "second" / "report.html").read_text()
    assert (told["certified"], told["reopened"]) == (False, [1])
    assert "This is not certified: entry 1 of the ledger" in told["summary"]
    assert report.count("This is not certified: entry 1 of the ledger") >= 2
    digests = [
        json.loads((place / out / "manifest.json").read_text())["holdout"]["digest"] for out in ("run", "second")
    ]
    assert digests[0]["certify"] != digests[1]["certify"]


def test_a_budget_that_no_iterate_keeps_ends_plainly_and_is_not_recorded_as_served(place):
    write_request(place, **{**DIGITS, "method": RUINOUS}, budget="{loss_increase: 0.0}", ledger="ledger.sqlite")
    result = CliRunner().invoke(app, ["run", "request.yaml"])
    assert result.exit_code == 0
    said = " ".join(result.stdout.split())
    assert "could not be kept: every iterate spent more. The model is handed back as it came" in said
    assert "Ledger: no entry, because the model is handed back as it came" in said
    part = part_of(place / "run")
    assert part["budget"]["chosen"] == 0
    assert part["budget"]["certificate"] is None
    assert (part["spent"]["unit"], part["spent"]["drop"], part["spent"]["bound"]) == ("relative loss", 0.0, None)
    before, after = load_file(place / "original.safetensors"), load_file(place / "run" / "unlearned.safetensors")
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    page = (place / "run" / "report.html").read_text()
    assert "that was reached</h4>" in page
    assert "None: the certify half stayed closed." in page
    assert Ledger(place / "ledger.sqlite").entries() == []
    again = CliRunner().invoke(app, ["run", "request.yaml", "--overwrite"])
    assert again.exit_code == 0


def test_who_prefers_forgetting_gets_it_and_reads_the_price(place):
    part = part_of(run(place, method=RUINOUS, budget="5.0", priority="forgetting"))
    assert (part["budget"]["within_budget"], part["budget"]["priority"]) == (False, "forgetting")
    assert part["budget"]["chosen"] > 0
    assert part["spent"]["drop"] > part["spent"]["budget"]


def test_a_users_metric_is_measured_and_accounted_in_its_own_unit(place):
    part = part_of(run(place, budget="{metric: metrics:error, max_drop: 0.04, higher_is_better: false}"))
    told, spent = part["budget"], part["spent"]
    assert told["limit"]["metric"] == "error"
    look = told["evaluations"][told["chosen"]]
    assert look["value"] == pytest.approx(1 - look["accuracy"] / 100, abs=1e-6)
    certificate = told["certificate"]
    assert (certificate["kind"], certificate["exact"], told["certified"]) == ("whole set", False, None)
    assert (spent["unit"], spent["budget"], spent["exact"]) == ("own metric", 0.04, False)
    assert (spent["drop"], spent["bound"]) == (certificate["drop"], certificate["bound"])
    assert spent["examples"] == told["examples"]["certify"]


def test_a_metric_of_known_range_has_an_exact_certificate(place):
    budget = "{metric: metrics:wrong, max_drop: 0.04, higher_is_better: false, bounds: [0, 1]}"
    path = run(place, budget=budget, ledger="ledger.sqlite")
    told, spent = part_of(path)["budget"], part_of(path)["spent"]
    assert told["limit"]["bounds"] == [0.0, 1.0]
    assert told["certificate"]["kind"] == "bounded mean"
    assert told["certified"] is (told["certificate"]["bound"] <= 0.04)
    assert told["smallest"] == told["certificate"]["smallest"]
    assert (spent["bound"], spent["exact"]) == (told["certificate"]["bound"], True)
    assert "of wrong: what the " in (path / "report.html").read_text()
    (account,) = compute_chain_totals(*[Ledger(place / "ledger.sqlite").entries()] * 2)
    assert (account.unit, account.bound, account.exact) == ("own metric", spent["bound"], True)


def test_weights_that_are_rounded_after_the_certificate_say_so(place):
    given = load_file(place / "original.safetensors")
    half = {name: tensor.bfloat16() if tensor.is_floating_point() else tensor for name, tensor in given.items()}
    assert not any("rounded" in line for line in result_of(run(place, budget="5.0"))["limitations"])
    save_weights(half, place / "original.safetensors", overwrite=True)
    assert any("rounded" in line for line in result_of(run(place, budget="5.0", overwrite=True))["limitations"])
    assert not any("rounded" in line for line in result_of(run(place, overwrite=True))["limitations"])


def test_a_request_without_a_budget_tells_nothing_of_one(place):
    path = run(place)
    assert {"budget", "spent"}.isdisjoint(part_of(path))
    assert "holdout" not in json.loads((path / "manifest.json").read_text())


def test_the_budget_of_a_file_is_that_of_python(place):
    from expunge.api.budgeting import budget_from_config

    read = config(place, **DIGITS, budget="{loss_increase: 0.2}")
    assert budget_from_config(read) == Budget(loss_increase=0.2)


def permuted(place):
    """Weights whose last layer answers each class with the next one."""
    state = load_weights(place / "original.safetensors")
    head = [name for name, value in state.items() if value.shape[:1] == (10,)][-2:]
    save_weights({n: v.roll(1, 0) if n in head else v for n, v in state.items()}, place / "permuted.safetensors")
    return {"checkpoint": "permuted.safetensors"}


@pytest.mark.parametrize("more", [{"budget": "5.0"}, {"holdout": None}], ids=["budget", "no budget"])
def test_weights_that_do_not_belong_to_the_data_are_refused_before_anything_is_written(place, more):
    write_request(place, **{**DIGITS, **permuted(place), **more})
    before = written(place)
    result = CliRunner().invoke(app, ["run", "request.yaml"])
    assert (result.exit_code, result.stdout.strip()) == (2, "")
    words = " ".join(result.stderr.split())
    assert re.search(r"line \d: Expected a model that knows the data of the request, but found that the model", words)
    assert "270 examples to retain, where chance gives" in words
    assert "or set sanity_check to false to go on" in words
    assert written(place) == before


def test_who_goes_on_all_the_same_reads_so_in_result_report_and_on_the_screen(place):
    screen = io.StringIO()
    path = run(place, Console(file=screen, width=80), budget="5.0", sanity_check="false", **permuted(place))
    part = part_of(path)
    assert (part["budget"]["within_budget"], part["budget"]["target_met"], part["budget"]["certified"]) == (
        False,
        None,
        None,
    )
    assert part["fit"][0] | {"value": 0} == {
        **part["fit"][0],
        "side": "retain",
        "measure": "right",
        "examples": 270,
        "level": "below",
        "value": 0,
    }
    assert "Nothing is shown, because the model did not know the data before" in (path / "report.html").read_text()
    assert "Warning: Before the run the model is right about" in " ".join(screen.getvalue().split())
