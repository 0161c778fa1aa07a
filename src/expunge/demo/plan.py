"""What the demo does: data, network, requests, methods and their settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from expunge.batch import Examples, Split
from expunge.data import ByClass, ByFraction, ForgetRequest, LabeledDataset, Subset, split_request
from expunge.tasks.classification.models import small_cnn
from expunge.tasks.classification.readers import digits
from expunge.tasks.classification.training import TrainSettings, train_classifier

NUM_TRAIN_IMAGES = 300
"""Training images: few, so that the network memorizes them and membership can be told."""

TRAIN_SETTINGS: Mapping[str, Any] = {"epochs": 40, "batch_size": 32, "lr": 0.05}

REQUESTS: Mapping[str, str] = {"class": "Forget every image of the digit 3", "random": "Forget a random 10 %"}
FORGOTTEN_CLASS = 3
FORGET_FRACTION = 0.1

METHODS = (
    "fine_tune",
    "gradient_ascent",
    "neggrad_plus",
    "random_labels",
    "salun",
    "projected_random_labels",
    "eupmu",
    "eupmu_fast",
)

COMMON_SETTINGS: Mapping[str, Any] = {"epochs": 10, "batch_size": 64, "forget_batch_size": 32}
"""The same budget for every method: ten passes."""

RANDOM_LABEL_METHODS = ("random_labels", "salun", "projected_random_labels", "eupmu", "eupmu_fast")
"""Methods whose labels are drawn; for the class request the class itself is left out of the draw, for all of them."""

BATCH_NORM = "frozen"
"""Statistics of the original; docs/research/batch-norm.md has the measurement."""

LEARNING_RATES: Mapping[str, Mapping[str, float]] = {
    "fine_tune": {"class": 0.3, "random": 0.01},
    "gradient_ascent": {"class": 0.01, "random": 0.0003},
    "neggrad_plus": {"class": 0.01, "random": 0.001},
    "random_labels": {"class": 0.003, "random": 0.001},
    "salun": {"class": 0.01, "random": 0.001},
    "projected_random_labels": {"class": 0.003, "random": 0.001},
    "eupmu": {"class": 0.01, "random": 0.001},
    "eupmu_fast": {"class": 0.01, "random": 0.001},
}
"""Learning rate of each method by request, four tried for each; the record is docs/results/demo-tuning.json."""

DISCLOSURE = (
    "One setting, the learning rate, was tuned for every method and request alike: four trials on a seed of its own "
    "(not among those shown), judged on examples outside of the training and the test set, without looking at a "
    "retrained model or at the test set (docs/results/demo-tuning.json). Everything else is the method's default with "
    "ten passes over the data."
)


@dataclass(frozen=True)
class DemoCase:
    """One request at one seed.

    Args:
        kind: ``class`` or ``random``.
        seed: Fixes the draw of training images, what is forgotten, initializations and orders.
        train: The training images.
        control: Images that neither training nor test uses.
        request: What is asked.
        split: What it leaves.
    """

    kind: str
    seed: int
    train: Examples
    control: Examples
    request: ForgetRequest
    split: Split


def load_digits() -> LabeledDataset:
    """Return the digits: one half to draw training and control images from, one half to test on."""
    return digits(test_share=0.5, seed=0)


def make_case(kind: str, seed: int, data: LabeledDataset) -> DemoCase:
    """Return one request at one seed."""
    drawn = data.subset(NUM_TRAIN_IMAGES, seed).train
    positions = drawn.positions if isinstance(drawn, Subset) else torch.arange(len(drawn))
    rest = torch.ones(len(data.train), dtype=torch.bool).index_fill_(0, positions, False)
    control = Subset(data.train, rest.nonzero().flatten())
    request = ByClass(FORGOTTEN_CLASS) if kind == "class" else ByFraction(FORGET_FRACTION, seed)
    forget, retain = split_request(drawn, request)
    split = Split(Subset(drawn, forget), Subset(drawn, retain), 10, control)
    return DemoCase(kind, seed, drawn, control, request, split)


def train_network(examples: Examples, seed: int) -> tuple[nn.Module, float]:
    """Return a network trained to convergence, and the seconds that took."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = small_cnn(10, 1)
    record = train_classifier(model, examples, TrainSettings(**TRAIN_SETTINGS, seed=seed))
    return model, record.seconds


def get_method_settings(method: str, kind: str) -> dict[str, Any]:
    """Return the settings of a method for a request, without the learning rate where none was chosen."""
    lr = LEARNING_RATES.get(method, {}).get(kind)
    label = {"exclude_true": True} if kind == "class" and method in RANDOM_LABEL_METHODS else {}
    return {**COMMON_SETTINGS, **label, **({} if lr is None else {"lr": lr})}
