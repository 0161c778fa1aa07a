"""``expunge run`` and ``expunge train`` from end to end, on small requests."""

from __future__ import annotations

import io
import json
import os
import re
import stat
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from small_requests import config, history_of, own, result_of, write_request, written
from typer.testing import CliRunner

from expunge.api import run_request, train_request
from expunge.cli import app
from expunge.errors import ConfigError, NotFiniteError
from expunge.registry import list_entries
from expunge.weights import load_weights, read_metadata, save_weights

FILES = {"config.json", "history.jsonl", "manifest.json", "report.html", "result.json", "unlearned.safetensors"}
TRAIN = "{epochs: 2, batch_size: 20, lr: 0.1}"


def run(folder: Path, *, overwrite: bool = False, **changes: str | None) -> Path:
    return run_request(config(folder, **changes), overwrite=overwrite)


def rows(place: Path) -> dict[str, dict]:
    return {row["key"]: row for row in result_of(place)["requests"][0]["rows"]}


def test_a_class_request(folder):
    before = written(folder)
    place = run(folder)
    assert {path.name for path in place.iterdir()} == FILES
    assert before.items() <= written(folder).items()
    part = result_of(place)["requests"][0]
    assert (part["description"], part["kind"], part["seeds"]) == ("Forget all examples of the class '3'", "class", [0])
    assert part["sizes"] == {"train": 120, "forget": 12, "retain": 108, "test": 180}
    assert list(rows(place)) == ["original", "rl"]
    assert part["retrained"] is False
    assert part["examples"] == []
    assert result_of(place)["command"] == "expunge run request.yaml"
    manifest = json.loads((place / "manifest.json").read_text())
    assert manifest["sizes"] == {"forget": 12, "retain": 108, "all": 120}


def test_the_history_is_complete(folder):
    place = run(folder, method="{name: rl, epochs: 3, batch_size: 32}")
    history = history_of(place)
    assert [row["step"] for row in history] == list(range(12))  # 108 retained in batches of 32, three times
    assert rows(place)["rl"]["history"] == history


def form(state: dict[str, torch.Tensor]) -> dict[str, tuple]:
    return {name: (tensor.dtype, tensor.shape, tensor.stride()) for name, tensor in state.items()}


def test_weights_have_the_form_of_the_checkpoint(folder):
    given = load_file(folder / "original.safetensors")
    place = run(folder)
    kept = load_file(place / "unlearned.safetensors")
    assert form(kept) == form(given)
    assert not torch.equal(kept["fc.weight"], given["fc.weight"])
    assert torch.equal(kept["bn1.running_mean"], given["bn1.running_mean"])


def test_a_half_precision_checkpoint_is_answered_in_half_precision(folder):
    given = load_file(folder / "original.safetensors")
    half = {name: tensor.bfloat16() if tensor.is_floating_point() else tensor for name, tensor in given.items()}
    half["conv2.weight"] = half["conv2.weight"].contiguous(memory_format=torch.channels_last)
    save_weights(half, folder / "original.safetensors", overwrite=True)
    kept = load_weights(run(folder) / "unlearned.safetensors")
    assert form(kept) == form(half)


def test_what_is_measured_is_what_was_saved(folder):
    """In half precision, where rounding shows in the divergence from a reference."""
    given = load_file(folder / "original.safetensors")
    half = {name: tensor.bfloat16() if tensor.is_floating_point() else tensor for name, tensor in given.items()}
    save_file(half, folder / "half.safetensors")
    place = run(folder, checkpoint="half.safetensors", retrained_model="original.safetensors")
    again = run(folder, checkpoint="run/unlearned.safetensors", retrained_model="original.safetensors", out="again")
    measured, loaded = rows(place)["rl"]["scores"], rows(again)["original"]["scores"]
    assert {key: measured[key]["values"] for key in loaded} == {key: score["values"] for key, score in loaded.items()}
    assert loaded["js_forget"]["mean"] > 0


NUMBERS = "11 57 83 101"


@pytest.mark.parametrize(
    ("forget", "kind", "count", "question"),
    [
        ("{indices: secret-list.txt}", "indices", 4, "Forget examples that were listed one by one"),
        ("{fraction: 0.1, seed: 7}", "fraction", 12, "Forget a random 10 % of the examples (seed 7)"),
        ("{class: '3'}", "class", 12, "Forget all examples of the class '3'"),
    ],
)
def test_kinds_of_request(folder, forget, kind, count, question):
    wanted = [int(n) for n in NUMBERS.split()]
    positions = used_positions()
    (folder / "secret-list.txt").write_text("\n".join(str(positions[n]) for n in wanted))
    part = result_of(run(folder, forget=forget))["requests"][0]
    assert (part["kind"], part["sizes"]["forget"], part["description"]) == (kind, count, question)


def used_positions() -> list[int]:
    """Indices in the whole training set of the examples that the small requests use."""
    from expunge.tasks.classification.readers import digits

    return digits(test_share=0.1).subset(120).train.positions.tolist()


def test_the_folder_keeps_no_index_no_path_and_no_example(folder):
    chosen = used_positions()[3:118:9]
    (folder / "secret-list.txt").write_text("\n".join(map(str, chosen)))
    place = run(folder, forget="{indices: secret-list.txt}", retrained_model="retrain", train=TRAIN)
    assert rows(place).keys() == {"original", "retrain", "rl"}
    for path in (path for path in place.iterdir() if path.suffix != ".safetensors"):
        content = path.read_text()
        assert "secret-list" not in content, path.name
        assert "data:image/" not in content, path.name
        assert not any(run_of(chosen, start) in re.sub(r"\D+", " ", content) for start in range(len(chosen) - 1))
    assert all(read_metadata(path).keys() <= {"seconds"} for path in place.glob("*.safetensors"))


def run_of(chosen: list[int], start: int) -> str:
    """Two indices that follow each other, as they would be left of any list of them."""
    return f" {chosen[start]} {chosen[start + 1]} "


def test_pictures_only_when_asked(folder):
    assert b"data:image/png" not in (run(folder) / "report.html").read_bytes()
    shown = run(folder, overwrite=True, show_examples="true")
    assert b"data:image/png" in (shown / "report.html").read_bytes()
    assert len(result_of(shown)["requests"][0]["examples"]) == 12
    assert any("pictures" in line for line in result_of(shown)["data_still_in"])


def test_reference_by_retraining(folder):
    place = run(folder, retrained_model="retrain", train=TRAIN, method="{name: ft, epochs: 1}")
    table = rows(place)
    assert [row["role"] for row in table.values()] == ["original", "retrained", "method"]
    assert "avg_gap" in table["ft"]["scores"]
    assert table["retrain"]["scores"]["seconds"]["mean"] > 0
    assert (place / "retrained.safetensors").is_file()
    by_path = run(folder, retrained_model="run/retrained.safetensors", out="other", method="{name: ft, epochs: 1}")
    assert rows(by_path)["retrain"]["scores"]["ua"] == table["retrain"]["scores"]["ua"]
    assert not (by_path / "retrained.safetensors").exists()


def test_the_method_retrain_beside_the_reference(folder):
    place = run(folder, retrained_model="retrain", train=TRAIN, method="{name: retrain, epochs: 2, batch_size: 32}")
    table = rows(place)
    assert [(row["label"], row["role"]) for row in table.values()] == [
        ("Original", "original"),
        ("Retrain", "retrained"),
        ("Retrain (method)", "method"),
    ]
    assert len(history_of(place)) == 8
    alone = run(folder, out="alone", method="{name: exact, epochs: 1, batch_size: 32}")
    assert [row["role"] for row in rows(alone).values()] == ["original", "method"]


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16"},
        {"gradient_accumulation_steps": "3"},
        {"holdout": "0.3"},
        *({"batch_norm": policy} for policy in ("frozen", "joint", "separate")),
    ],
    ids=str,
)
def test_conditions_reach_the_engine(folder, changes):
    place = run(folder, **changes)
    plain = run(folder, out="plain")
    told = json.loads((place / "config.json").read_text())
    for key, value in changes.items():
        assert str(told[key]) == value
    one, other = (load_file(p / "unlearned.safetensors") for p in (place, plain))
    same = all(torch.equal(one[name], other[name]) for name in one)
    assert same is (changes in ({"holdout": "0.3"}, {"batch_norm": "frozen"}))
    moved = not torch.equal(one["bn1.running_mean"], load_file(folder / "original.safetensors")["bn1.running_mean"])
    assert moved is (changes.get("batch_norm") in ("joint", "separate"))
    if "holdout" in changes:
        assert result_of(place)["requests"][0]["sizes"]["test"] == 126


def test_ones_own_model_data_and_predicate(folder):
    changes = own(model="{name: mine:net, options: {scale: 2.0}}", data="{factory: mine:named}")
    place = run(folder, **changes | {"forget": "{class: bee}"})
    part = result_of(place)["requests"][0]
    assert part["description"] == "Forget all examples of the class 'bee'"
    assert part["sizes"] == {"train": 60, "forget": 20, "retain": 40, "test": 30}
    assert load_file(place / "unlearned.safetensors").keys() == {"fc.weight", "fc.bias"}
    picked = run(folder, **own(forget="{predicate: mine:few}", out="picked"))
    assert result_of(picked)["requests"][0]["sizes"]["forget"] == 7


def test_an_augmentation_is_the_users_own_unless_the_request_names_one(folder):
    (folder / "own_augment.py").write_text(
        "import torch\nfrom expunge.data import TensorExamples\ndef noisy(inputs, generator):\n"
        "    return inputs + torch.randn(inputs.shape, generator=generator)\ndef data():\n    import mine\n"
        "    train, test = mine.data()\n    return TensorExamples(*train.tensors, augment=noisy), test\n"
    )
    kept = run(folder, **own(data="{factory: own_augment:data}"))
    none = run(folder, **own(data="{factory: own_augment:data, augment: none}", out="none"))
    plain = run(folder, **own(out="plain"))
    weights = [load_file(place / "unlearned.safetensors")["fc.weight"] for place in (kept, none, plain)]
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[0], weights[2])


def test_an_original_that_is_not_there_is_trained_first(folder):
    place = run(folder, checkpoint="new/deep.safetensors", train=TRAIN)
    trained = (folder / "new" / "deep.safetensors").read_bytes()
    assert "original" in rows(place)
    run(folder, checkpoint="new/deep.safetensors", train=TRAIN, overwrite=True)
    assert (folder / "new" / "deep.safetensors").read_bytes() == trained
    inside = run(folder, checkpoint=None, train=TRAIN, out="inside")
    assert load_file(inside / "original.safetensors").keys() == load_file(place / "unlearned.safetensors").keys()


def test_run_takes_what_train_left_in_the_run_folder(folder):
    weights = train_request(config(folder, checkpoint=None, train=TRAIN))
    assert weights == folder / "run" / "original.safetensors"
    assert 0 <= float(read_metadata(weights)["train_accuracy"]) <= 1
    kept = weights.read_bytes()
    run(folder, checkpoint=None, train="{epochs: 40}")
    assert weights.read_bytes() == kept


def test_a_run_that_diverges_says_so_and_leaves_its_history(folder):
    with pytest.raises(NotFiniteError):
        run(folder, method="{name: ga, epochs: 60, lr: 1.0e+30, max_grad_norm: null, batch_size: 4}")
    assert history_of(folder / "run")
    assert not (folder / "run" / "result.json").exists()


def test_overwriting_leaves_nothing_of_the_earlier_run(folder):
    run(folder, retrained_model="retrain", train=TRAIN)
    place = run(folder, overwrite=True, method="{name: ft, epochs: 1, batch_size: 32}")
    assert {path.name for path in place.iterdir()} == FILES
    assert len(history_of(place)) == 4


def test_every_file_honours_the_umask(folder):
    before = os.umask(0o027)
    try:
        place = run(folder, retrained_model="retrain", train=TRAIN)
    finally:
        os.umask(before)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()} == dict.fromkeys(
        FILES | {"retrained.safetensors"}, 0o640
    )


def test_the_number_of_threads_is_put_back(folder):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run(folder)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_what_the_commands_print_fits_the_screen_and_names_the_files(folder):
    file = write_request(folder, train=TRAIN, checkpoint="fresh.safetensors")
    trained = CliRunner().invoke(app, ["train", str(file)])
    assert trained.exit_code == 0, trained.output
    assert "Weights: " in trained.stdout
    result = CliRunner().invoke(app, ["run", str(file), "--show-examples"])
    assert result.exit_code == 0, result.output
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    assert "Weights: run/unlearned.safetensors\n" in result.stdout
    assert "Report:  run/report.html\n" in result.stdout
    assert b"data:image/png" in (folder / "run" / "report.html").read_bytes()


def test_progress_reaches_its_end(folder):
    screen = io.StringIO()
    run_request(config(folder), console=Console(file=screen, width=80))
    bar = next(line for line in screen.getvalue().splitlines() if "Unlearning" in line)
    assert "4/4" in bar


def test_weights_that_are_tied_come_back_as_they_came(folder):
    (folder / "tied.py").write_text(
        "from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.a = nn.Linear(6, 6)\n        self.b = self.a\n        self.c = nn.Linear(6, 3)\n"
        "    def forward(self, x):\n        return self.c(self.b(self.a(x)))\n"
    )
    generator = torch.Generator().manual_seed(0)
    shapes = {"a.weight": (6, 6), "a.bias": (6,), "c.weight": (3, 6), "c.bias": (3,)}
    save_file({n: torch.randn(s, generator=generator) for n, s in shapes.items()}, folder / "once.safetensors")
    place = run(folder, **own(model="tied:Net", checkpoint="once.safetensors", sanity_check="false"))
    assert load_file(place / "unlearned.safetensors").keys() == shapes.keys()


@pytest.mark.parametrize("method", sorted(list_entries("methods", "classification")))
def test_every_method_answers_a_request(folder, method):
    place = run(folder, **own(method=f"{{name: {method}, epochs: 1, batch_size: 20}}", holdout="0.5"))
    assert [row["role"] for row in rows(place).values()] == ["original", "method"]
    assert history_of(place)


def test_further_metrics_are_measured_where_the_request_names_them(folder):
    row = rows(run(folder, metrics="[cka-original, relearn]"))["rl"]
    assert "cka_original" in row["scores"]
    assert row["evidence"][0]["relearn"]["goal"] > 0


def test_a_metric_that_nothing_could_answer_is_refused_before_anything_is_written(folder):
    with pytest.raises(ConfigError, match="retrained model for 'cka'"):
        run(folder, metrics="[cka]")
    assert not (folder / "run" / "result.json").exists()
    with pytest.raises(ConfigError, match=r"line \d+: Expected one of the metrics .* did you mean 'cka'"):
        config(folder, metrics="[ckaa]")
