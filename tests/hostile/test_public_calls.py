"""Every public call with wrong kinds and hostile paths, read off the package: a new one is driven or the test fails."""

import importlib
import inspect
import json
import warnings
from pathlib import Path

import pytest
import torch
import torch._dynamo  # notes PyTorch's functions before they are replaced
from command_lines import admits_path
from flat_calls import flat_unlearn
from torch import nn
from whole_requests import CLASSIFIER
from wrong_kinds import PASSED, every, fault, hostile_paths

import expunge
import hostile
from expunge import RunConfig, api, audit, evaluate, loggers
from expunge.api.audits.ulira import audit_ulira
from expunge.api.convert import convert
from expunge.api.generative.images import draw_images
from expunge.api.purge import purge
from expunge.errors import DataError
from expunge.request.config import load_request
from expunge.shadows import ShadowTraining
from expunge.tasks.build import build_model
from expunge.tasks.train_settings import TrainSettings
from expunge.weights import save_weights

ELSEWHERE = {
    *("Batch", "Budget", "Pair", "Stepper", "evaluate", "audit", "unlearn"),  # in the tests of wrong kinds
    "ExpungeError",
}
"""Public names that other tests drive, or that are made by the package alone."""
RESULTS = {"Evaluation": ("report",), "ULiRAResult": ("save",), "Result": ("save",), "Audit": ("report", "save")}
"""What calls return → its methods that take a path."""
SMALL = {key: CLASSIFIER[key] for key in ("model", "data", "forget", "method", "threads")}


@pytest.fixture(autouse=True)
def no_work(monkeypatch):
    """Ends whatever would begin to train."""

    def refuse_backward(*arguments, **options):
        raise DataError("no work", "the first gradient", "leave it at that")

    def refuse_gradient(*arguments, **options):
        refuse_backward()

    monkeypatch.setattr(torch.autograd, "backward", refuse_backward)
    monkeypatch.setattr(torch.autograd, "grad", refuse_gradient)
    monkeypatch.setattr(hostile, "SECONDS", 10.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def good_calls(folder: Path) -> dict[str, tuple[object, dict]]:
    """Return every public call with good arguments, by name."""
    small = {**SMALL, "sanity_check": False}
    for name, more in {"r": {"checkpoint": "w.safetensors"}, "t": {"train": {"epochs": 1}}}.items():
        (folder / f"{name}.yaml").write_text(json.dumps({**small, **more}))
    weights = save_weights(build_model("small_cnn", classes=10, channels=1, width=4), folder / "w.safetensors")
    torch.save(nn.Linear(4, 3).state_dict(), folder / "w.pt")
    request, training = load_request(folder / "r.yaml"), load_request(folder / "t.yaml")
    x, y = torch.randn(60, 4), torch.arange(60) % 3
    how = {"model_factory": lambda: nn.Linear(4, 3), "examples": (x[:40], y[:40]), "settings": TrainSettings(epochs=1)}
    shadows = {"test": (x[40:], y[40:]), "candidates": list(range(10)), "num_shadow_models": 6}
    images = {"checkpoints": [folder], "prompts": ["1"], "seeds": [0], "out": folder / "x.png"}
    calls = {
        "audit_request": (api.audit_request, {"config": request, "unlearned": weights, "out": folder / "audit"}),
        "audit_ulira": (audit_ulira, {"training": ShadowTraining(**how), **shadows, "method": "ft"}),
        "ShadowTraining": (lambda **given: audit_ulira(ShadowTraining(**given), **shadows, method="ft"), how),
        "convert": (convert, {"source": folder / "w.pt", "target": folder / "new.safetensors"}),
        "estimate_retrain": (api.estimate_retrain, {"config": training}),
        "run_request": (api.run_request, {"config": request}),
        "train_request": (api.train_request, {"config": training}),
        "ulira_request": (api.ulira_request, {"config": training, "num_shadow_models": 6}),
        "purge": (purge, {"folder": folder / "none"}),
        "draw_images": (draw_images, images),
        "build_logger": (loggers.build_logger, {"name": "tensorboard", "settings": {}}),
        "as_logger_group": (loggers.as_logger_group, {"loggers": None}),
        "LoggerGroup": (loggers.LoggerGroup, {}),
        "RunConfig": (RunConfig, {"checkpoints": folder / "state"}),
    }
    tracking = {name: (getattr(loggers, name), {}) for name in ("MLflow", "TensorBoard", "Trackio", "WandB")}
    return {**calls, **tracking}


def test_every_public_name_is_driven(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    public = {name for package in (expunge, api, loggers) for name in package.__all__}
    callables = {name for name in public if callable(getattr_anywhere(name))}
    assert callables <= {*good_calls(tmp_path), *ELSEWHERE, *RESULTS, "Logger", "Callback"}
    for name, methods in RESULTS.items():
        kind = getattr(api, name)
        taking = [one for one, method in inspect.getmembers(kind, callable) if one[0] != "_" and takes_path(method)]
        assert tuple(taking) == methods


def getattr_anywhere(name):
    return next(getattr(package, name) for package in (expunge, api, loggers) if name in package.__all__)


def takes_path(call) -> bool:
    return bool(path_arguments(call))


def path_arguments(call) -> list[str]:
    """Return the arguments of a call that admit a path."""
    function = inspect.unwrap(call.__init__ if inspect.isclass(call) else call)
    names = vars(importlib.import_module(function.__module__)) if inspect.isfunction(function) else {}
    found = []
    for name, text in getattr(function, "__annotations__", {}).items():
        try:
            hint = eval(text, names) if isinstance(text, str) else text
        except NameError:  # imported for the type checker alone
            continue
        if name != "return" and admits_path(hint):
            found.append(name)
    return found


NAMES = sorted(
    {name for package in (api, loggers) for name in package.__all__} - ELSEWHERE - set(RESULTS) - {"Logger"}
    | {"purge", "draw_images"}
)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_kinds(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EXPUNGE_KEY_FILE", str(tmp_path / "key"))
    call, good = good_calls(tmp_path)[name]
    asked = inspect.signature(call).parameters.values()
    values = {one.name: PASSED for one in asked if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}
    if "model_fn" in values or "on_done" in values:
        functions = tuple(value for value in PASSED if not callable(value))
        values |= {one: functions for one in ("model_fn", "on_done", "logits", "augment") if one in values}
    wrong = every(name, call, good, values)
    assert not wrong, wrong[:20]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_paths(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EXPUNGE_KEY_FILE", str(tmp_path / "key"))
    call, good = good_calls(tmp_path)[name]
    wrong = []
    for what, path in hostile_paths(tmp_path).items():
        for argument in path_arguments(call):
            with hostile.alarm():
                said = fault(lambda given={argument: path}: call(**{**good, **given}))
            wrong += [f"{argument}, {what}: {said}"] if said else []
    assert not wrong, wrong


def test_hostile_paths_of_what_calls_return(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    x, y = torch.randn(60, 4), torch.arange(60) % 3
    sides = {"forget": (x[:6], y[:6]), "retain": (x[6:40], y[6:40])}
    test, model = (x[40:], y[40:]), nn.Linear(4, 3)
    result = flat_unlearn(model, **sides, method="rl", epochs=1, config=RunConfig(sanity_check=False))
    made = {
        "Result": result,
        "Evaluation": evaluate(result.model, **sides, test=test),
        "Audit": audit(model, result.model, **sides, test=test),
        "ULiRAResult": audit_ulira(
            ShadowTraining(lambda: nn.Linear(4, 3), (x[:40], y[:40]), TrainSettings(epochs=1)),
            test=test,
            candidates=range(10),
            method="ft",
            epochs=1,
            num_shadow_models=6,
        ),
    }
    wrong = []
    for what, path in hostile_paths(tmp_path).items():
        for name, methods in RESULTS.items():
            for method in methods:
                call = getattr(made[name], method)
                with hostile.alarm():
                    said = fault(lambda call=call, path=path: call(path))
                wrong += [f"{name}.{method}, {what}: {said}"] if said else []
    assert not wrong, wrong
