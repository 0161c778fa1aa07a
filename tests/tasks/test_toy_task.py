"""A task of one's own, in one file and registered by entry point, goes through every verb."""

import json
from importlib.metadata import EntryPoint
from typing import ClassVar, Literal

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import expunge.registry
import expunge.request.config
from expunge import evaluate, unlearn
from expunge.api import run_request, train_request
from expunge.batch import Predictor
from expunge.benchmark import BenchmarkFolders, load_recipe, run_benchmark
from expunge.data import TensorExamples
from expunge.ledger import Ledger
from expunge.methods import FineTune
from expunge.objectives import CrossEntropy, NegativeCrossEntropy, Objective
from expunge.report import save_report
from expunge.request.config import load_request
from expunge.request.model_request import ModelRequest
from expunge.tasks.task import Task
from expunge.tasks.train_settings import TrainRecord

WORDS, LENGTH, TOPICS = 40, 6, 3


class Topics(nn.Module):
    """A bag of words: the mean of the words' vectors, and a head."""

    def __init__(self):
        super().__init__()
        self.words, self.head = nn.EmbeddingBag(WORDS, 8), nn.Linear(8, TOPICS)

    def forward(self, texts):
        return self.head(self.words(texts))


class TopicLoss(Objective):
    """What the toy descends."""

    task: ClassVar[str] = "bag_of_words"

    def __call__(self, model, batch):
        return cross_entropy(model(batch.inputs), batch.targets)


class TopicAscent(TopicLoss):
    """What it climbs."""

    can_be_negative: ClassVar[bool] = True

    def __call__(self, model, batch):
        return -super().__call__(model, batch)


class BagRequest(ModelRequest):
    """Its request file."""

    task: Literal["bag_of_words"] = "bag_of_words"


class BagOfWords(Task):
    """Models that tell the topic of a text."""

    request = BagRequest
    default_method = "neggrad_plus"
    objectives: ClassVar = {CrossEntropy: TopicLoss, NegativeCrossEntropy: TopicAscent}

    def make_predictor(self, model, logits=None):
        return Predictor(model, logits)

    def train(self, model, examples, settings, *, on_epoch=None, **options):
        optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr)
        batch = examples.batch(torch.arange(len(examples)))
        for _ in range(settings.epochs):
            optimizer.zero_grad()
            loss = cross_entropy(model(batch.inputs), batch.targets)
            loss.backward()
            optimizer.step()
        right = (model(batch.inputs).argmax(1) == batch.targets).double().mean()
        return TrainRecord(1.0, float(loss.detach()), float(right), settings.epochs)


def texts(count, seed):
    generator = torch.Generator().manual_seed(seed)
    topics = torch.arange(count) % TOPICS
    own = torch.randint(WORDS // TOPICS, (count, LENGTH), generator=generator) + (WORDS // TOPICS) * topics[:, None]
    noise = torch.randint(WORDS, (count, LENGTH), generator=generator)
    return TensorExamples(torch.where(torch.rand(count, LENGTH, generator=generator) < 0.6, own, noise), topics)


def data():
    return {"train": texts(90, 1), "test": texts(60, 2), "class_names": ["art", "law", "sport"]}


SHARED = f"""
task: bag_of_words
model: {__name__}:Topics
data: {{factory: {__name__}:data}}
train: {{epochs: 30, lr: 0.05}}
"""
METHOD = "{name: neggrad_plus, epochs: 2, lr: 0.01}"
BESIDE = "retrained_model: retrain\nledger: ledger.sqlite\nout: run"
REQUEST = f"{SHARED}method: {METHOD}\nforget: {{indices: rows.txt}}\n{BESIDE}"
RECIPE = f"{SHARED}requests: [{{class: law}}]\nmethods: [{METHOD}]\nseeds: [0]"


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The toy as an entry point of an installed package."""
    point = EntryPoint("bag_of_words", f"{__name__}:BagOfWords", "expunge.tasks")
    for module in (expunge.registry, expunge.request.config):
        monkeypatch.setattr(module, "entry_points", lambda group: [point] if group == "expunge.tasks" else [])
    expunge.registry.list_entries.cache_clear()
    yield
    expunge.registry.list_entries.cache_clear()


def test_unlearn_and_evaluate_take_the_task():
    train, test, model = texts(90, 1), texts(60, 2), Topics()
    parts = {"forget": train.batch(torch.arange(9)), "retain": train.batch(torch.arange(9, 90))}
    parts = {name: TensorExamples(part.inputs, part.targets) for name, part in parts.items()}
    result = unlearn(model, **parts, task="bag_of_words", method=FineTune(epochs=1, lr=0.01))
    assert result.task == "bag_of_words"
    assert evaluate(result, test=test).scores


def test_a_request_is_run_reported_and_kept_in_the_ledger(tmp_path):
    (tmp_path / "request.yaml").write_text(REQUEST)
    (tmp_path / "rows.txt").write_text("\n".join(map(str, range(9))))
    config = load_request(tmp_path / "request.yaml")
    train_request(config)
    folder = run_request(config)
    document = json.loads((folder / "result.json").read_text())
    assert [row["role"] for row in document["requests"][0]["rows"]] == ["original", "retrained", "method"]
    assert "Forget" in save_report(document, tmp_path / "report.md").read_text()
    (entry,) = Ledger(tmp_path / "ledger.sqlite").entries()
    assert entry.content.asked.forget == 9


def test_a_recipe_compares_methods(tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    state = run_benchmark(
        load_recipe(tmp_path / "recipe.yaml"), BenchmarkFolders(tmp_path / "cells", tmp_path / "nets")
    )
    assert not state.failed
    assert len(state.finished) == 6
