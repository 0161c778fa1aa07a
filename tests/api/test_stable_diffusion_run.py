"""Request files of text-to-image models, on the smallest pipeline that the libraries build."""

import json

import pytest
import torch
from tiny_pipeline import tiny_pipeline
from typer.testing import CliRunner
from written_requests import write_lines

from expunge.api import run_request
from expunge.api.purge import purge
from expunge.cli import app
from expunge.errors import ConfigError, ExpungeError, NotFiniteError, RequestError
from expunge.ledger import Ledger
from expunge.request.config import load_request
from expunge.weights import load_weights

STYLE = "{name: van gogh, prompts: [a cat in the style of van gogh], anchor: a photo of a cat}"
LINES = {
    "task": "stable_diffusion",
    "model": "pipeline",
    "forget": STYLE,
    "keep": "[a photo of a car, a photo of a cat]",
    "method": "{name: eupmu, epochs: 1, batch_size: 2}",
    "latents": "{per_prompt: 2, steps: 2}",
    "images": "{per_prompt: 1, steps: 2}",
    "threads": "1",
    "out": "run",
}


def write(folder, **changes):
    return write_lines(folder, LINES, **changes)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_pipeline().save_pretrained(folder / "pipeline", safe_serialization=True)
    return folder


@pytest.fixture
def place(saved, tmp_path):
    (tmp_path / "pipeline").symlink_to(saved / "pipeline")
    return tmp_path


def weights(folder):
    from expunge.tasks.stable_diffusion.text_to_image import TextToImage

    return dict(TextToImage.from_pretrained(folder).unet.named_parameters())


def test_without_a_method_it_is_the_one_that_did_best_in_the_study(place):
    folder = run_request(load_request(write(place, method=None)))
    result = json.loads((folder / "result.json").read_text())
    row = result["requests"][0]["rows"][-1]
    assert (row["key"], row["label"]) == ("auto", "UCE")
    assert result["provenance"].endswith("those of auto. Nothing was tuned by this run. No classifier looked.")


def test_a_run_that_diverges_keeps_its_last_good_weights_and_says_where(place):
    request = write(place, method="{name: rl, epochs: 3, batch_size: 2, lr: 1.0e30, max_grad_norm: null}")
    with pytest.raises(NotFiniteError, match=r"the last good weights are in '.*run/last-good\.safetensors'"):
        run_request(load_request(request))
    good = load_weights(place / "run" / "last-good.safetensors")
    before = weights(place / "pipeline")
    assert all(torch.equal(good[f"unet.{name}"], value) for name, value in before.items()), "the first update broke it"
    assert not (place / "run" / "unlearned").exists()


def test_an_adapter_without_a_method_is_refused(place):
    with pytest.raises(ConfigError, match=r"line \d+: Expected a method that trains an adapter, but found auto"):
        load_request(write(place, method=None, train="lora"))


@pytest.mark.parametrize("part", ["full", "cross_attention", "{name: lora, rank: 2}"])
def test_a_request_is_answered_with_a_whole_pipeline_and_pictures(place, part):
    folder = run_request(
        load_request(write(place, train=part, method="{name: rl, epochs: 1, batch_size: 2, lr: 0.01}"))
    )
    before, after = weights(place / "pipeline"), weights(folder / "unlearned")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert part == "full" or all(".attn2." in name for name in moved)
    assert (folder / "adapter").is_dir() == ("lora" in part)
    request = json.loads((folder / "result.json").read_text())["requests"][0]
    assert [row["label"] for row in request["grids"][0]["rows"]] == ["Original", "RL"]
    assert len(request["grids"][0]["columns"]) == 3
    page = (folder / "report.html").read_text()
    assert "no classifier looked at them" in page
    assert "latents of images with their prompts" in page


def test_latents_are_kept_where_the_request_says_so_and_read_again(place):
    file = write(place, latents="{per_prompt: 2, steps: 2, cache: drawn}")
    run_request(load_request(file))
    kept = (place / "drawn" / "latents.safetensors").read_bytes()
    found = CliRunner().invoke(app, ["run", str(file), "--overwrite"])
    assert found.exit_code == 0, found.output
    assert (place / "drawn" / "latents.safetensors").read_bytes() == kept


@pytest.mark.parametrize(
    ("changes", "line", "words"),
    [
        ({"forget": "{name: cat, anchor: dog}"}, 3, "either a kind"),
        ({"forget": "{name: cat, kind: clas, anchor: dog}"}, 3, "did you mean 'class'"),
        ({"forget": "[]"}, 3, "forget"),
        ({"train": "all"}, 10, "cross_attention"),
        ({"data": "digits"}, 10, "'data'"),
        ({"keep": None}, 1, "the key 'keep'"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path, changes, line, words):
    with pytest.raises(ConfigError) as refusal:
        load_request(write(tmp_path, **changes))
    assert words in str(refusal.value)
    assert refusal.value.location in (f"request.yaml line {line}", "request.yaml")


@pytest.mark.parametrize(
    ("changes", "line", "words"),
    [
        ({"forget": "{name: cat, prompts: a cat, anchor: a cat}"}, 3, "an anchor other than"),
        ({"forget": "{name: cat, kind: class, anchor: dog}", "keep": "[a photo of a cat]"}, 3, "not both"),
        ({"forget": f"{{name: cat, prompts: {' '.join(['cat'] * 40)}, anchor: a}}"}, 3, "tokens"),
        ({"method": "{name: scrub}"}, 5, "an objective for"),
        ({"model": "nowhere/at-all"}, 2, "nowhere/at-all"),
    ],
)
@pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks`")
def test_what_does_not_fit_is_refused_before_anything_is_written(place, monkeypatch, changes, line, words):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # else it asks the network, several times
    with pytest.raises(ExpungeError) as refusal:
        run_request(load_request(write(place, **changes)))
    assert words in str(refusal.value)
    assert refusal.value.location == f"request.yaml line {line}"
    assert not (place / "run").exists()


def test_the_original_is_never_written_over(place):
    (place / "run").mkdir()
    (place / "run" / "unlearned").symlink_to(place / "pipeline")
    with pytest.raises(ConfigError, match="a path that the run does not write over"):
        run_request(load_request(write(place, model="run/unlearned")))
    assert (place / "pipeline" / "model_index.json").is_file()


def test_a_request_is_recorded_in_hashes_recognized_and_purged(place):
    file = write(place, ledger="ledger.sqlite", latents="{per_prompt: 2, steps: 2, cache: drawn}")
    folder = run_request(load_request(file))
    with pytest.raises(RequestError, match="entry 1"):
        run_request(load_request(file), overwrite=True)
    later = write(place, ledger="ledger.sqlite", model="run/unlearned", out="other")
    with pytest.raises(RequestError, match="entry 1"):
        run_request(load_request(later))
    (entry,) = Ledger(place / "ledger.sqlite").entries()
    assert (entry.content.asked.kind, entry.content.asked.forget, entry.header.spent) == ("concept", 1, None)
    stored = (place / "ledger.sqlite").read_bytes()
    assert [word for word in (b"gogh", b"cat", b"pipeline") if word in stored] == []
    done = purge(folder, place / "ledger.sqlite")
    assert set(done.removed) == {"the pictures in the report", "grid.png"}
    assert f"The cache of latents, '{place / 'drawn'}'." in done.remaining
    assert f"The original's weights, '{place / 'pipeline'}'." in done.remaining
    assert done.entry.header.of == 1
    assert "data:image" not in (folder / "report.html").read_text()


def test_the_change_of_the_predicted_noise_is_nothing_for_the_same_model_and_grows_with_the_change(place):
    from expunge.api.generative.noise_change import measure_noise_change
    from expunge.tasks.stable_diffusion.prompt_examples import generate_latents
    from expunge.tasks.stable_diffusion.text_to_image import TextToImage

    before, after = (TextToImage.from_pretrained(place / "pipeline") for _ in range(2))
    examples = generate_latents(before, ["a cat", "a dog"], 10, steps=2)
    assert measure_noise_change(before, after, examples, 0) == 0
    with torch.no_grad():
        after.unet.conv_out.weight.mul_(1.1)
        after.unet.conv_out.bias.mul_(1.1)
    assert measure_noise_change(before, after, examples, 0) == pytest.approx(10, rel=1e-4)


def test_a_second_request_keeps_no_prompt_that_names_what_the_first_forgot(place):
    run_request(load_request(write(place, ledger="ledger.sqlite")))
    dog = "{name: dog, prompts: [a photo of a dog], anchor: a photo of a cat}"
    changes = {"model": "run/unlearned", "forget": dog, "out": "second", "ledger": "ledger.sqlite"}
    keep = "[a photo of a car, 'A field, in the style of Van Gogh.', a cat in the style of van gogh]"
    part = json.loads((run_request(load_request(write(place, **changes, keep=keep))) / "result.json").read_text())
    part = part["requests"][0]
    assert part["classes"] == ["a photo of a dog", "a photo of a car"]
    assert part["left_out"] == {"retain": 2, "holdout": 0, "test": 0, "unknown": []}
    ((entry, noise),) = [(one["entry"], one["noise"]) for one in part["earlier"]]
    assert (entry, noise["prompts"]) == (1, 2)
    assert min(noise["change"], noise["kept_change"]) > 0
    page = (place / "second" / "report.html").read_text()
    assert "noise predicted for 2 prompts of entry 1 changed by" in page
    assert "Change of the predicted noise" in page
    with pytest.raises(RequestError, match="nothing left to learn"):
        run_request(load_request(write(place, **{**changes, "out": "third"}, keep="[a garden by Van Gogh]")))
    again = dog.replace("a photo of a cat", "a dog by Van Gogh")
    with pytest.raises(RequestError, match="an anchor that no earlier request forgot"):
        run_request(load_request(write(place, **{**changes, "forget": again, "out": "third"})))
    without = {"ledger": None, "exclude": "[van gogh]", "out": "third"}
    part = json.loads(
        (run_request(load_request(write(place, **{**changes, **without}, keep=keep))) / "result.json").read_text()
    )
    assert part["requests"][0]["left_out"]["retain"] == 2
