"""Every setting of requests and of Python calls with values of the wrong kind: our own sentence, or it works."""

import dataclasses
import inspect
import re
import warnings
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn
from whole_requests import CLASSIFIER, DIFFUSION, PROMPTS, RECIPE
from wrong_kinds import PASSED, WRITTEN, Odd, every, fault, settings_below

from expunge import Pair, Stepper, audit, evaluate, metrics, unlearn
from expunge.benchmark.recipe import BenchmarkRecipe, load_recipe
from expunge.budget import Budget
from expunge.data import ByFraction, Subset, TensorExamples, as_examples
from expunge.errors import ModelError
from expunge.methods import build_method
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.registry import list_entries, list_registered_names
from expunge.report import save_report
from expunge.request import checks
from expunge.request.config import find_request_class, load_request
from expunge.request.document import RequestDocument
from expunge.surgery import Projection
from expunge.weights import load_into, load_weights, save_weights

CASES: dict[str, int] = {}
"""Test → how many cases it tried; the last test asks for them."""
CALLBACKS = {"on_step", "on_log", "logits", "validation_batch", "extra_batches", "augment"}
"""Arguments that may be any function: what it raises is the caller's own."""
REQUESTS = {"classification": CLASSIFIER, "diffusion": DIFFUSION, "stable_diffusion": PROMPTS}
ROOMS = ("surgeries", "objectives", "masks", "metrics")


def changed(document: dict, keys: tuple[str, ...], value: object) -> dict:
    """Return a document with one setting, its sections made where they are names alone."""
    first, *rest = keys
    inside = document.get(first)
    inside = inside if isinstance(inside, dict) else {} if inside is None else {"name": inside}
    return {**document, first: changed(inside, tuple(rest), value) if rest else value}


@pytest.mark.parametrize("kind", [*REQUESTS, "recipe"])
def test_settings_of_requests(kind, tmp_path, monkeypatch):
    """What YAML makes of a file is tried elsewhere; here the values are there already."""
    document, model = (RECIPE, BenchmarkRecipe) if kind == "recipe" else (REQUESTS[kind], find_request_class(kind))
    read = load_recipe if kind == "recipe" else load_request
    path, tried, wrong = tmp_path / "request.yaml", 0, []
    monkeypatch.setattr(
        checks, "list_registered_names", cache(list_registered_names)
    )  # asks for entry points each time
    for keys in settings_below(model):
        for value in WRITTEN:
            whole = RequestDocument(path, changed(document, keys, value), {})
            monkeypatch.setattr(f"{read.__module__}.read_document", lambda _, whole=whole: whole)
            said = fault(lambda: read(path))
            wrong += [f"{keys} {value!r:.40}: {said}"] if said else []
            tried += 1
    CASES[f"requests {kind}"] = tried
    assert not wrong, wrong[:20]


@pytest.mark.parametrize("room", ROOMS)
def test_constructors_of_the_registry(room):
    wrong = []
    for name, entry in list_entries(room).items():
        make = type(entry.target) if room == "metrics" else entry.target
        parameters = inspect.signature(make).parameters.values()
        needed = {one.name: None for one in parameters if one.default is one.empty}
        values = {one.name: PASSED for one in parameters}
        wrong += every(name, make, needed, values)
        CASES[f"{room} {name}"] = len(values) * len(PASSED)
    assert not wrong, wrong[:20]


def test_settings_of_methods():
    """Made by class and by name, which read the same settings in two ways; all are carried into a recipe."""
    wrong = []
    for place, (name, entry) in enumerate(list_entries("methods").items()):
        fields = [field.name for field in dataclasses.fields(entry.target)]
        own = [field for field in fields if place == 0 or field in vars(entry.target).get("__annotations__", {})]
        values = dict.fromkeys(own, PASSED)
        wrong += every(name, lambda entry=entry, **given: entry.target(**given).recipe(0), {}, values)
        wrong += every(name, lambda name=name, **given: build_method(name, **given), {}, values)
        CASES[f"methods {name}"] = 2 * len(own) * len(PASSED)
    assert not wrong, wrong[:20]


@pytest.fixture(scope="module")
def parts():
    """Forgotten, retained and test examples."""
    inputs, labels = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
    return [TensorExamples(inputs[low:high], labels[low:high]) for low, high in ((0, 6), (6, 40), (40, 60))]


def stepper(**given):
    """A stepper of a small model, some of its arguments replaced."""
    model = given.pop("model", nn.Linear(4, 3))
    weights = model.parameters() if isinstance(model, nn.Module) else [nn.Parameter(torch.ones(1))]
    good = {"optimizer": torch.optim.SGD(weights, lr=0.1), "surgery": Projection()}
    return Stepper(**{"model": model, **good, "objectives": Pair(RandomLabel(), CrossEntropy()), **given})


def calls(parts, folder):
    """Yield name, function and good arguments of the calls of the package."""
    forget, retain, test = parts
    weights = save_weights(nn.Linear(4, 3), folder / "w.safetensors")
    batch = (torch.randn(4, 4), torch.arange(4) % 3)
    sides = {"forget": forget, "retain": retain}
    yield "unlearn", unlearn, {"model": nn.Linear(4, 3), **sides, "method": "rl", "epochs": 1}
    yield "evaluate", evaluate, {"model": nn.Linear(4, 3), **sides, "test": test}
    yield "audit", audit, {"original": nn.Linear(4, 3), "unlearned": nn.Linear(4, 3), **sides, "test": test}
    yield "Stepper", Stepper.__init__, stepper
    yield "step", lambda **given: stepper()(**given), {"forget": batch, "retain": batch, "progress": None}
    yield "Budget", Budget, {"accuracy_points": 1.0}
    yield "Subset", Subset, {"examples": forget, "positions": [0]}
    yield "TensorExamples", TensorExamples, {"inputs": batch[0], "targets": batch[1]}
    yield "as_examples", as_examples, {"dataset": forget}
    yield "ByFraction", lambda **given: ByFraction(**given).select(forget), {"fraction": 0.5, "seed": 0}
    yield "load_weights", load_weights, {"path": weights}
    yield "load_into", load_into, {"model": nn.Linear(4, 3), "path": weights}
    yield "save_weights", save_weights, {"model_or_state": nn.Linear(4, 3), "path": folder / "n.safetensors"}
    yield "save_report", save_report, {"document": {}, "path": folder / "report.md"}


def test_calls_of_the_package(parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = []
    for name, call, good in calls(parts, tmp_path):
        call, good = (good, {}) if callable(good) else (call, good)
        asked = inspect.signature(Stepper if name == "Stepper" else call).parameters.values()
        names = [one.name for one in asked if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)] or list(good)
        functions = [value for value in PASSED if not callable(value)]
        values = {one: tuple(functions) if one in CALLBACKS else PASSED for one in names if one != "compile"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrong += every(name, call, good, values)
        CASES[f"call {name}"] = sum(map(len, values.values()))
    assert not wrong, wrong[:20]


ARRAY_METRICS = ("accuracy", "attack_auc", "auc_interval", "confidence", "entropy", "frechet_distance", "linear_cka")
ARRAY_METRICS += ("forgetting_quality", "kernel_distance", "loss", "margin", "mean_interval", "svc_mia")


@pytest.mark.parametrize("name", ARRAY_METRICS)
def test_metrics_of_arrays_name_what_is_no_array_of_numbers(name):
    metric = getattr(metrics, name)
    required = [one for one in inspect.signature(metric).parameters.values() if one.default is one.empty]
    args = sum(one.kind is not one.KEYWORD_ONLY for one in required)
    values = [value for value in PASSED if not (isinstance(value, int) and value in (-1, 0, 1))]
    wrong = [fault(lambda value=value: metric(*[value] * args)) for value in values]
    assert [text for text in wrong if text] == []


def test_options_of_readers(tmp_path):
    wrong = []
    for name, entry in list_entries("readers").items():
        options = [one for one in inspect.signature(entry.target).parameters if one != "root"]
        wrong += every(name, entry.target, {"root": tmp_path}, dict.fromkeys(("root", *options), PASSED))
        CASES[f"reader {name}"] = (1 + len(options)) * len(PASSED)
    assert not wrong, wrong[:20]


def test_a_class_is_no_instance():
    with pytest.raises(ModelError, match="make one first"):
        unlearn(Odd, forget=1, retain=1)


def test_there_are_as_many_cases_as_the_page_on_security_says():
    page = (Path(__file__).parents[2] / "SECURITY.md").read_text(encoding="utf-8")
    (promised,) = re.findall(r"more than ([\d,]+) cases, which a test counts", page)
    if len(CASES) > 50:  # the file as a whole was run, by one process
        assert sum(CASES.values()) > int(promised.replace(",", ""))


def test_a_class_whose_module_is_not_registered_is_made_like_any_other():
    source = """
from expunge.surgery import GramianSurgery

class Own(GramianSurgery):
    def __init__(self, share: float = 1.0) -> None:
        super().__init__()
        self.share = share

    def weights(self, gram):
        return gram[0]
"""
    names = {"__name__": "made_by_exec"}
    exec(source, names)
    assert names["Own"](0.5).share == 0.5
