"""``unlearn``: what it changes, what it leaves alone, and that it always does the same."""

from __future__ import annotations

import json
import threading

import pytest
import torch
from flat_calls import flat_unlearn
from small_requests import Classifier, assert_same, classifier, everything, sides
from torch import nn

import expunge
from expunge.data import TensorExamples
from expunge.errors import ConfigError, ExpungeError, ModelError, NotFiniteError
from expunge.methods import EUPMU, RandomLabels
from expunge.registry import list_entries
from expunge.weights import load_weights

FAST = {"epochs": 1, "batch_size": 16, "lr": 0.05}


def forget(model, **options):
    first, second = sides()
    return flat_unlearn(model, forget=first, retain=second, **{"method": "rl", **FAST, **options})


@pytest.mark.parametrize("method", list_entries("methods", "classification"))
def test_the_model_stays_to_the_bit_and_the_result_differs(method):
    model = classifier()
    before = everything(model)
    result = forget(model, method=method, holdout=TensorExamples(*fresh(9)))
    assert_same(before, everything(model))
    assert result.original is model
    assert not torch.equal(result.model.head.weight, model.head.weight)
    assert torch.equal(result.model.first.bias, model.first.bias) or method == "retrain"
    assert not any(module.training for module in result.model.modules())
    assert len(result.history) > 0
    shared = {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in result.model.parameters()}
    assert shared == set()


def fresh(seed):
    return torch.randn(30, 6, generator=torch.Generator().manual_seed(seed)), torch.arange(30) % 3


class StoppedError(Exception):
    pass


def stop(progress):
    if progress.step == 2:
        raise StoppedError


@pytest.mark.parametrize("inplace", [False, True])
def test_the_model_stays_to_the_bit_when_something_fails_midway(inplace):
    model = classifier()
    before = everything(model)
    with pytest.raises(StoppedError):
        forget(model, inplace=inplace, on_step=stop, batch_norm="separate", epochs=3)
    assert_same(before, everything(model))


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("method", ["rl", "salun", "eupmu"])
def test_the_model_stays_to_the_bit_when_it_diverges(inplace, method):
    model = classifier()
    before = everything(model)
    with pytest.raises(NotFiniteError):
        forget(model, method=method, inplace=inplace, lr=1e38, max_grad_norm=None, epochs=4)
    assert_same(before, everything(model))


def test_in_place_gives_the_same_bits_in_the_same_tensors():
    model = classifier()
    copy = forget(model)
    identities = [id(p) for p in model.parameters()]
    result = forget(model, inplace=True)
    assert result.model is model
    assert result.original is None
    assert [id(p) for p in model.parameters()] == identities
    for one, other in zip(copy.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_same_seed_gives_the_same_bits_whatever_the_global_generator():
    def once(seed, noise):
        model = classifier()
        torch.manual_seed(noise)
        return forget(model, method="eupmu", seed=seed, batch_norm="joint")

    one, two, three = once(0, 1), once(0, 2), once(1, 1)
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True))
    assert one.history == two.history
    assert not torch.equal(one.model.head.weight, three.model.head.weight)


def test_the_global_generator_is_left_alone():
    model = classifier()
    torch.manual_seed(11)
    state = torch.random.get_rng_state()
    forget(model, method="retrain")
    assert torch.equal(torch.random.get_rng_state(), state)


class Transformer(nn.Module):
    """Takes keywords and returns an object with logits, as transformers do."""

    def __init__(self):
        super().__init__()
        self.inner = Classifier()

    def forward(self, pixels, scale):
        return type("Output", (), {"logits": self.inner(pixels * scale[:, None])})()


def test_every_way_to_logits_gives_the_same_model():
    torch.manual_seed(3)
    plain = Classifier()
    adapted, wrapped = Classifier(as_dict=True), Transformer()
    adapted.load_state_dict(plain.state_dict())
    wrapped.inner.load_state_dict(plain.state_dict())
    first, second = sides()

    def keyed(examples):
        inputs = {"pixels": examples.inputs, "scale": torch.ones(len(examples))}
        return TensorExamples(inputs, examples.targets)

    expected = forget(plain).model
    by_adapter = forget(adapted, logits=lambda output: output["scores"]).model
    result = flat_unlearn(wrapped, forget=keyed(first), retain=keyed(second), method="rl", **FAST)
    for name, value in expected.state_dict().items():
        assert torch.equal(by_adapter.state_dict()[name], value)
        assert torch.equal(result.model.inner.state_dict()[name], value)
    test = TensorExamples(second.inputs + 1, second.targets)
    figures = expunge.evaluate(result, test=keyed(test))
    assert figures.scores.keys() == expunge.evaluate(forget(plain), test=test).scores.keys()


def test_history_has_a_row_for_every_update_and_goes_to_the_caller():
    seen, steps = [], []
    result = forget(classifier(), epochs=2, on_log=seen.extend, on_step=lambda p: steps.append(p.step))
    assert [row["step"] for row in result.history] == list(range(6))  # 48 retained in batches of 16, twice
    assert seen == result.history
    assert steps == list(range(6))
    assert all(row["forget_loss"] > 0 and row["retain_loss"] > 0 for row in result.history)


def test_save_writes_weights_history_and_settings(tmp_path):
    result = forget(classifier(), method="eupmu", seed=4)
    place = result.save(tmp_path / "run")
    state, kept = result.model.state_dict(), load_weights(place / "unlearned.safetensors")
    assert kept.keys() == state.keys()
    assert all(kept[name].dtype == value.dtype and torch.equal(kept[name], value) for name, value in state.items())
    rows = [json.loads(line) for line in (place / "history.jsonl").read_text().splitlines()]
    assert rows == result.history
    told = json.loads((place / "config.json").read_text())
    assert told["method"]["name"] == "EUPMU"
    assert told["method"]["lr"] == FAST["lr"]
    assert told["run_config"] == {
        "seed": 4,
        "batch_norm": "frozen",
        "gradient_accumulation_steps": 1,
        "precision": "fp32",
    }
    with pytest.raises(ConfigError, match=r"without an earlier run, but found 'result.json'"):
        result.save(place)
    result.save(place, overwrite=True)


def test_save_does_not_touch_files_of_others(tmp_path):
    (tmp_path / "config.json").write_text("the user's own")
    with pytest.raises(ConfigError):
        forget(classifier()).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    assert (tmp_path / "config.json").read_text() == "the user's own"


class Locked(Classifier):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


BAD = {
    "task": (ConfigError, {"task": "language"}, "the name of one of the tasks"),
    "method": (ConfigError, {"method": "eupmv"}, "did you mean 'eupmu'"),
    "method class": (ConfigError, {"method": EUPMU}, "found the class EUPMU: make one first"),
    "method object": (ConfigError, {"method": 3}, "found 3"),
    "setting": (ConfigError, {"epoch": 3}, "did you mean 'epochs'"),
    "setting type": (ConfigError, {"epochs": "many"}, "'many'"),
    "setting range": (ConfigError, {"lr": -1.0}, "lr > 0"),
    "settings beside a method": (ConfigError, {"method": RandomLabels()}, "settings beside it"),
    "policy": (ConfigError, {"batch_norm": "thawed"}, "frozen, joint, separate"),
    "precision": (ConfigError, {"precision": "fp8"}, "fp32, bf16, fp16"),
    "micro-batches": (
        ConfigError,
        {"gradient_accumulation_steps": 0},
        "gradient_accumulation_steps as a whole number of at least 1",
    ),
    "observing": (ConfigError, {"log_gradients_every": 0}, "log_gradients_every as a whole number"),
    "no model": (ModelError, {"model": "resnet18"}, "an nn.Module.* but found .resnet18."),
    "a model that cannot be copied": (ModelError, {"model": Locked()}, "pass inplace=True"),
    "an adapter that fails": (ModelError, {"logits": lambda output: output["logits"]}, "IndexError"),
    "no logits": (ModelError, {"logits": lambda output: output[0]}, r"\(3,\)"),
}


@pytest.mark.parametrize(("error", "change", "part"), BAD.values(), ids=BAD)
def test_what_is_refused(error, change, part):
    model = change.get("model", classifier())
    before = everything(model) if isinstance(model, nn.Module) else None
    change = {key: value for key, value in change.items() if key != "model"}
    with pytest.raises(error, match=part) as caught:
        forget(model, **change)
    assert isinstance(caught.value, ExpungeError)
    assert "\n" not in str(caught.value)
    if before is not None:
        assert_same(before, everything(model))
