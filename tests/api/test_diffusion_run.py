"""Request files of diffusion models, on the committed model of handwritten digits."""

import copy
import json
import re
import sys

import pytest
import torch
from small_diffusion import MODELS, diffusers
from stand_in_trackers import STAND_INS, Told
from typer.testing import CliRunner
from written_requests import write_lines

from expunge.api import run_request
from expunge.api.purge import purge
from expunge.api.steering import lr_range_test
from expunge.cli import app
from expunge.errors import ConfigError, ExpungeError, NotFiniteError, RequestError
from expunge.ledger import Ledger
from expunge.request.config import load_request
from expunge.tasks.diffusion.request import DiffusionConfig
from expunge.weights import load_into

DIGITS = MODELS / "digits"
LINES = {
    "task": "diffusion",
    "model": f"'{DIGITS / 'ddpm'}'",
    "classifier": f"{{name: resnet8, weights: '{DIGITS / 'classifier.safetensors'}'}}",
    "data": "{name: digits, subset: 200}",
    "forget": "{class: 3}",
    "method": "{name: rl, epochs: 1, batch_size: 32}",
    "images": "{forgotten: 12, remaining: 135, steps: 4}",
    "threads": "1",
    "out": "run",
}


def write(folder, **changes):
    return write_lines(folder, LINES, **changes)


def test_a_request_is_answered_with_a_model_figures_and_pictures(tmp_path, monkeypatch):
    diffusers()
    from expunge.tasks.diffusion.ddpm import DDPM

    before, told = DDPM.from_pretrained(DIGITS / "ddpm"), Told()  # diffusers looks for trackers while it is imported
    monkeypatch.setitem(sys.modules, "trackio", STAND_INS["trackio"](told)["trackio"])
    folder = run_request(load_request(write(tmp_path, loggers="trackio")))
    assert {"unlearned", "grid.png", "report.html", "history.jsonl"} <= {path.name for path in folder.iterdir()}
    result = json.loads((folder / "result.json").read_text())
    original, method = result["requests"][0]["rows"]
    assert (original["role"], method["role"]) == ("original", "method")
    assert method["evidence"][0]["asked"] == {"3": 12}
    assert sum(method["evidence"][0]["kept"].values()) == 135
    after = DDPM.from_pretrained(folder / "unlearned")
    moved = [not torch.equal(*pair) for pair in zip(before.parameters(), after.parameters(), strict=True)]
    assert any(moved), "the saved model is the unlearned one"
    sent = json.loads((folder / "history.jsonl").read_text().splitlines()[-1])
    assert sent["step"] >= 5
    assert len(told.points["forget_loss"]) == sent["step"] + 1
    assert told.figures["generated_ua"] == method["scores"]["generated_ua"]["mean"]
    assert told.failed is False


def test_without_a_method_it_is_the_one_that_did_best_in_the_study(tmp_path, monkeypatch):
    diffusers()
    monkeypatch.setattr(lr_range_test, "TRIAL_STEPS", 3)
    monkeypatch.setattr(lr_range_test, "EVAL_SUBSET_SIZE", 60)
    from expunge.demo.diffusion_plan import METHODS
    from expunge.tasks.diffusion.task import Diffusion

    assert Diffusion.default_method == METHODS["feasible"]
    folder = run_request(
        load_request(write(tmp_path, classifier=None, method="{name: auto, epochs: 1, batch_size: 32}"))
    )
    result = json.loads((folder / "result.json").read_text())
    row = result["requests"][0]["rows"][-1]
    assert row["key"] == "auto"
    assert row["settings"]["mask"]["name"] == "feasible"
    assert row["settings"]["epochs"] == 1
    assert "The learning rate, " in result["provenance"]
    assert "by a range test on retained examples" in result["provenance"]


def test_without_a_judge_there_are_pictures_and_no_figures(tmp_path):
    diffusers()
    folder = run_request(load_request(write(tmp_path, classifier=None, ema_decay="0.9")))
    request = json.loads((folder / "result.json").read_text())["requests"][0]
    assert [metric["key"] for metric in request["metrics"]] == ["seconds"]
    assert len(request["grids"][0]["rows"]) == 2
    assert (folder / "grid.png").is_file()


def test_a_run_that_diverges_keeps_its_last_good_weights_and_says_where(tmp_path):
    diffusers()
    from expunge.tasks.diffusion.ddpm import DDPM

    request = write(tmp_path, method="{name: ga, lr: 1.0e30, epochs: 3, batch_size: 32, max_grad_norm: null}")
    with pytest.raises(NotFiniteError, match=r"the last good weights are in '.*run/last-good\.safetensors'"):
        run_request(load_request(request))
    original = DDPM.from_pretrained(DIGITS / "ddpm")
    changed = copy.deepcopy(original)
    load_into(changed, tmp_path / "run" / "last-good.safetensors")
    pairs = zip(original.state_dict().values(), changed.state_dict().values(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs), "the first update broke it"
    assert not (tmp_path / "run" / "unlearned").exists()
    assert "last-good.safetensors" in " ".join(purge(tmp_path / "run").removed)


def test_the_command_line_answers_it_too(tmp_path):
    diffusers()
    found = CliRunner().invoke(app, ["run", str(write(tmp_path)), "--overwrite"])
    assert found.exit_code == 0
    assert "images/s" in found.stdout
    assert re.search(r"^Grid: +\S+grid\.png$", found.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("changes", "line", "words"),
    [
        ({"task": "difusion"}, 1, "did you mean 'diffusion'"),
        ({"model": "nowhere"}, 2, "a folder for 'model', but found none"),
        ({"classifier": "{name: resnet8}"}, 3, "the key 'weights' in 'classifier'"),
        ({"classifier": "{name: resnet9, weights: j.safetensors}"}, 3, "did you mean 'resnet8'"),
        ({"images": "{forgoten: 3}"}, 7, "did you mean 'forgotten'"),
        ({"images": "{guidance: -1}"}, 7, "a number greater than or equal to 0"),
        ({"checkpoint": "x.safetensors"}, 10, "one of task, model"),
        ({"ema_decay": "1.5"}, 10, "a number less than 1"),
        ({"time_limit": "90s"}, 10, "but found method 'rl'"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path, changes, line, words):
    with pytest.raises(ConfigError) as refusal:
        load_request(write(tmp_path, **changes))
    assert refusal.value.location == f"request.yaml line {line}"
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "line", "words"),
    [
        ({"forget": "{fraction: 0.1}"}, 5, "a request for whole classes"),
        ({"images": "{remaining: 120}"}, 7, "more than 129 images"),
        ({"method": "{name: scrub}"}, 6, "an objective for diffusion"),
        ({"method": "{name: rl, rate: -1}"}, 6, "lr"),
        ({"model": f"'{DIGITS}'"}, 2, "a folder 'unet'"),
        (
            {"classifier": f"{{name: small_cnn, weights: '{DIGITS / 'classifier.safetensors'}'}}"},
            3,
            "the keys of the model",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path, changes, line, words):
    diffusers()
    with pytest.raises(ExpungeError) as refusal:
        run_request(load_request(write(tmp_path, **changes)))
    assert refusal.value.location == f"request.yaml line {line}"
    assert words in str(refusal.value)
    assert not (tmp_path / "run").exists()


def test_training_a_diffusion_model_by_request_is_refused_by_name(tmp_path):
    found = CliRunner().invoke(app, ["train", str(write(tmp_path))])
    assert found.exit_code == 2
    assert "the request of a classifier" in found.output


def test_what_is_known_of_a_classifier_is_not_taken_for_this_family():
    assert {"checkpoint", "reference", "train"}.isdisjoint(DiffusionConfig.model_fields)


def test_requests_are_recorded_and_recognized(tmp_path):
    diffusers()
    changes = {"classifier": None, "images": "{forgotten: 1, remaining: 9, steps: 2}", "ledger": "ledger.sqlite"}
    run_request(load_request(write(tmp_path, **changes)))
    (entry,) = Ledger(tmp_path / "ledger.sqlite").entries()
    assert (entry.content.asked.kind, "grid.png" in entry.content.evidence) == ("class", True)
    for model in (LINES["model"], "run/unlearned"):
        with pytest.raises(RequestError, match="entry 1"):
            run_request(load_request(write(tmp_path, model=model, out="other", **changes)))


def test_a_second_request_draws_and_keeps_nothing_of_the_class_that_is_gone(tmp_path):
    diffusers()
    run_request(load_request(write(tmp_path, ledger="ledger.sqlite")))
    changes = {"model": "run/unlearned", "forget": "{class: 5}", "out": "second", "ledger": "ledger.sqlite"}
    folder = run_request(load_request(write(tmp_path, **changes)))
    part = json.loads((folder / "result.json").read_text())["requests"][0]
    (earlier,) = part["earlier"]
    assert (earlier["entry"], earlier["drawn"]["examples"]) == (1, 12)
    assert set(earlier["drawn"]["accuracy"]) == {"original", "method"}
    assert part["left_out"]["retain"] == 20
    assert set(part["rows"][1]["evidence"][0]["kept"]) == {"0", "1", "2", "4", "6", "7", "8", "9"}
