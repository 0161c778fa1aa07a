"""Request files without a method: what may stand beside ``auto``, and what a run tells of its choice."""

from __future__ import annotations

import json

import pytest
from small_requests import HELD_OUT, config, history_of, result_of, write_request, written
from typer.testing import CliRunner

from expunge.api import run_request
from expunge.cli import app
from expunge.errors import ConfigError
from expunge.ledger import Ledger
from expunge.request.config import load_request
from expunge.tasks.classification.request import ClassificationConfig


@pytest.fixture
def place(folder, trained):
    """The folder of a user who has these weights."""
    (folder / "original.safetensors").write_bytes(trained.read_bytes())
    return folder


@pytest.mark.parametrize(
    ("written", "name", "settings"),
    [
        (None, "auto", {}),
        ("auto", "auto", {}),
        ("Auto", "auto", {}),
        ("{name: auto, epochs: 2}", "auto", {"epochs": 2}),
        ("eupmu", "eupmu", {}),
    ],
)
def test_a_request_that_names_no_method_asks_for_auto(folder, written, name, settings):
    method = config(folder, method=written).method
    assert (method.name, method.settings, method.automatic) == (name, settings, name == "auto")


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90.0), ("90.5", 90.5), ("90s", "90s"), ("10min", "10min"), ("2h", "2h")]
)
def test_a_time_limit_is_read_as_it_is_written(folder, text, expected):
    read = config(folder, method=None, holdout="0.3", budget="1.0", time_limit=text)
    assert read.time_limit == expected
    again = ClassificationConfig.model_validate(
        json.loads(read.model_dump_json(by_alias=True, exclude_unset=True)), strict=False
    )
    assert again.time_limit == read.time_limit


TIMES = {
    "a method beside it": (
        {"budget": "1", "time_limit": "2h", "method": "random_labels_with_budget"},
        "line 10: Expected time_limit beside a budget and `method: auto`, which searches a learning rate, but "
        "found method "
        "'random_labels_with_budget': remove it.",
    ),
    "no budget": (
        {"time_limit": "2h"},
        "line 8: Expected time_limit beside a budget and `method: auto`, which searches a lea",
    ),
    "a rate beside it": (
        {"budget": "1", "time_limit": "2h", "method": "{name: auto, lr: 0.1}"},
        "line 10: Expected time_limit beside a budget and `method: auto`, which searches a learning rate, but "
        "found an lr beside "
        "it: remove it.",
    ),
    "no time": (
        {"budget": "1", "time_limit": "soon"},
        "line 9: Expected seconds, or a time such as 90s, 10min or 2h, but found 'soon': write for example "
        "`time_limit: 10min`.",
    ),
    "nothing": ({"budget": "1", "time_limit": "0"}, "line 9: Expected seconds, or a time such as 90s"),
    "a truth value": (
        {"budget": "1", "time_limit": "true"},
        "line 9: Expected seconds, or a time such as 90s, 10min or",
    ),
}


@pytest.mark.parametrize(("changes", "expected"), TIMES.values(), ids=TIMES)
def test_a_time_limit_that_nothing_would_keep_to_is_refused_at_its_line(folder, changes, expected):
    file = write_request(folder, **{"method": None, "holdout": "0.3", **changes})
    with pytest.raises(ConfigError) as caught:
        load_request(file)
    assert str(caught.value).startswith(f"request.yaml {expected}")


def test_text_to_image_models_have_no_time_limit(tmp_path):
    file = tmp_path / "request.yaml"
    file.write_text("task: stable_diffusion\nmodel: base\ntime_limit: 10min\n")
    with pytest.raises(ConfigError, match=r"line 3: Expected 'time_limit' in a request to a classifier"):
        load_request(file)


SETTINGS = {
    "misspelled": (
        {"method": "\n  name: auto\n  epoch: 2"},
        "line 7: Expected a setting of 'neighbor_labels' (",
    ),
    "of the wrong type": ({"method": "\n  name: auto\n  lr: fast"}, "line 7: Expected a usable value for 'lr' of "),
    "a tolerance beside a budget": (
        {"method": "\n  name: auto\n  tolerance: 0.1", "budget": "5.0"},
        "line 7: Expected a budget that alone decides how far the run goes",
    ),
    "a budget that cannot be certified": (
        {"budget": "0.0"},
        "line 8: Expected a budget above 0 with a certificate",
    ),
    "part of a composition": ({"method": "auto + feasible(lenient)"}, "line 5: Expected one of the methods ("),
}


@pytest.mark.parametrize(("changes", "expected"), SETTINGS.values(), ids=SETTINGS)
def test_what_auto_does_not_know_is_refused_before_anything_is_written(place, changes, expected):
    write_request(place, **{**HELD_OUT, **changes})
    before = written(place)
    result = CliRunner().invoke(app, ["run", "request.yaml"])
    assert (result.exit_code, result.stdout.strip()) == (2, "")
    assert expected in " ".join(result.stderr.split())
    assert written(place) == before


def test_a_run_with_a_budget_and_no_method_tells_what_was_tried(place):
    path = run_request(config(place, **HELD_OUT, budget="5.0", time_limit="30s", ledger="ledger.sqlite"))
    result = result_of(path)
    part = result["requests"][0]
    row = next(row for row in part["rows"] if row["role"] == "method")
    search = part["budget"]["search"]
    tried = [trial["lr"] for stage in search["rounds"] for trial in stage["trials"]]
    assert (row["key"], row["label"]) == ("auto", "Neighbor labels")
    assert row["settings"]["lr"] == search["lr"]
    assert search["lr"] in tried
    assert row["settings"]["layer"] is not None
    assert "spent" in history_of(path)[-1]
    for words in (
        "for what it leaves out, those of auto",
        f"The learning rate, {search['lr']:g}, was chosen by a range test and successive halving",
        f"{len(tried)} short run",
        "Neither the certify half, nor test data, nor a retrained model was looked at.",
        "control half",
    ):
        assert words in result["provenance"]
    assert "nothing was tuned" not in result["provenance"]
    page = (path / "report.html").read_text()
    assert "What was tried first" in page
    assert "<td>1/32</td>" in page
    assert json.loads((path / "config.json").read_text())["method"] == {"name": "auto", "settings": {}}
    (entry,) = Ledger(place / "ledger.sqlite").entries()
    assert entry.content.method == "auto"


def test_without_a_budget_nothing_is_searched_and_settings_hold(place):
    path = run_request(config(place, **{**HELD_OUT, "holdout": None, "method": "{name: auto, epochs: 1, lr: 0.02}"}))
    result = result_of(path)
    row = result["requests"][0]["rows"][-1]
    assert (row["settings"]["name"], row["settings"]["epochs"], row["settings"]["lr"]) == ("NeighborLabels", 1, 0.02)
    assert "Nothing was tuned by this run." in result["provenance"]
    assert "What was tried first" not in (path / "report.html").read_text()
