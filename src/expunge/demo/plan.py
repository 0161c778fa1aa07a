"""What the demo does: data, network, requests, methods and their settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from expunge.batch import Examples, Split
from expunge.data import ByClass, ByFraction, Request, Source, Subset, split_request
from expunge.tasks.classification.models import small_cnn
from expunge.tasks.classification.readers import digits
from expunge.tasks.classification.training import TrainSettings, fit

TRAIN = 300
"""Training images: few, so that the network memorises them and membership can be told."""

TRAINING: Mapping[str, Any] = {"epochs": 40, "batch": 32, "rate": 0.05}

REQUESTS: Mapping[str, str] = {"class": "Forget every image of the digit 3", "random": "Forget a random 10 %"}
FORGOTTEN_CLASS = 3
SHARE = 0.1

METHODS = (
    "fine_tune",
    "gradient_ascent",
    "neggrad_plus",
    "random_labels",
    "salun",
    "explicit_surgery",
    "eupmu",
    "eupmu_fast",
)

COMMON: Mapping[str, Any] = {"epochs": 10, "batch": 64, "forget_batch": 32}
"""The same budget for every method: ten passes."""

RANDOM_LABELS = ("random_labels", "salun", "explicit_surgery", "eupmu", "eupmu_fast")
"""Methods whose labels are drawn; for the class request the class itself is left out of the draw, for all of them."""

NORMALISATION = "frozen"
"""Statistics of the original; docs/results/normalisation.md has the measurement."""

RATES: Mapping[str, Mapping[str, float]] = {
    "fine_tune": {"class": 0.3, "random": 0.01},
    "gradient_ascent": {"class": 0.01, "random": 0.0003},
    "neggrad_plus": {"class": 0.01, "random": 0.001},
    "random_labels": {"class": 0.003, "random": 0.001},
    "salun": {"class": 0.01, "random": 0.001},
    "explicit_surgery": {"class": 0.003, "random": 0.001},
    "eupmu": {"class": 0.01, "random": 0.001},
    "eupmu_fast": {"class": 0.01, "random": 0.001},
}
"""Learning rate of each method by request, chosen by benchmarks/tune_demo.py; its record is in docs/results."""

DISCLOSURE = (
    "One setting, the learning rate, was tuned for every method and request alike: four trials on a seed of its own "
    "(not among those shown), judged on examples outside of the training and the test set, without looking at a "
    "retrained model or at the test set (docs/results/demo-tuning.json). Everything else is the method's default with "
    "ten passes over the data."
)


@dataclass(frozen=True)
class Case:
    """One request at one seed.

    Args:
        kind: ``class`` or ``random``.
        seed: Fixes the draw of training images, what is forgotten, initialisations and orders.
        train: The training images.
        control: Images that neither training nor test uses.
        request: What is asked.
        split: What it leaves.
    """

    kind: str
    seed: int
    train: Examples
    control: Examples
    request: Request
    split: Split


def source() -> Source:
    """Return the digits: one half to draw training and control images from, one half to test on."""
    return digits(test_share=0.5, seed=0)


def case(kind: str, seed: int, data: Source) -> Case:
    """Return one request at one seed."""
    drawn = data.subset(TRAIN, seed).train
    positions = drawn.positions if isinstance(drawn, Subset) else torch.arange(len(drawn))
    rest = torch.ones(len(data.train), dtype=torch.bool).index_fill_(0, positions, False)
    control = Subset(data.train, rest.nonzero().flatten())
    request = ByClass(FORGOTTEN_CLASS) if kind == "class" else ByFraction(SHARE, seed)
    forget, retain = split_request(drawn, request)
    split = Split(Subset(drawn, forget), Subset(drawn, retain), 10, control)
    return Case(kind, seed, drawn, control, request, split)


def train(examples: Examples, seed: int) -> tuple[nn.Module, float]:
    """Return a network trained to convergence, and the seconds that took."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = small_cnn(10, 1)
    record = fit(model, examples, TrainSettings(**TRAINING, seed=seed))
    return model, record.seconds


def settings(method: str, kind: str) -> dict[str, Any]:
    """Return the settings of a method for a request, without the learning rate where none was chosen."""
    rate = RATES.get(method, {}).get(kind)
    label = {"exclude_true": True} if kind == "class" and method in RANDOM_LABELS else {}
    return {**COMMON, **label, **({} if rate is None else {"rate": rate})}
