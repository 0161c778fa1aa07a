"""What the diffusion demo does: base models, what they forget, methods and their settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from expunge.api.generative.diffusion_job import scale_of, signed
from expunge.api.generative.generated import Drawing
from expunge.batch import Split
from expunge.data import ByClass, Source, Subset, split_request
from expunge.registry import find
from expunge.tasks.diffusion.ddpm import DDPM
from expunge.tasks.diffusion.evaluation import Judge, ShownImages
from expunge.weights import load_into

MODELS = Path(__file__).parent / "models"
"""The base models and their judges; benchmarks/diffusion_base.py made them."""
JUDGE = "resnet8"

METHODS: Mapping[str, str] = {
    "eupmu": "eupmu",
    "lur": "lur",
    "feasible": "eupmu + feasible(lenient, delta=0.1)",
    "salun": "salun",
    "random_labels": "random_labels",
    "esd": "esd",
}
"""Row of the table → method."""

DISCLOSURE = (
    "Every method has the same number of updates, batch and learning rate, and its own defaults for all else. The rate "
    "was looked for on another class than the one that is forgotten here, which excluded a larger one and did not "
    "decide between this and a smaller one (docs/results/diffusion-fashion-mnist.md). The judge never saw the test "
    "images that it is trusted by."
)


@dataclass(frozen=True)
class Plan:
    """One variant of the demo.

    Args:
        name: Of the data and of the base model's folder.
        title: Of the data, for people.
        forgotten: The class that is forgotten.
        retained: Retained training images that are used, drawn at random.
        settings: Of every method.
        drawing: Which images are drawn.
        methods: Row of the table → method. Default: ``METHODS``.
    """

    name: str
    title: str
    forgotten: int
    retained: int
    settings: Mapping[str, Any]
    drawing: Drawing
    methods: Mapping[str, str] = field(default_factory=lambda: METHODS)


FASHION = Plan(
    "fashion_mnist",
    "Fashion-MNIST",
    0,
    6_400,
    {"epochs": 1, "batch": 64, "rate": 3e-4},
    Drawing(forgotten=500, remaining=1000),
)
DIGITS = Plan(
    "digits",
    "handwritten digits",
    3,
    1_280,
    {"epochs": 3, "batch": 64, "rate": 1e-3},
    Drawing(forgotten=200, remaining=900),
)


@dataclass(frozen=True)
class Case:
    """A variant whose every part is at hand.

    Args:
        source: The data, training images in [−1, 1].
        real: The test images.
        split: What is forgotten and what of the rest is used.
        request: What is asked.
        original: The base model.
        judge: The classifier that looks at the images.
    """

    source: Source
    real: ShownImages
    split: Split
    request: ByClass
    original: DDPM
    judge: Judge


def case(plan: Plan, data_dir: Path | None = None, seed: int = 0) -> Case:
    """Read everything that a variant needs.

    Args:
        plan: The variant.
        data_dir: Folder of the data. Default: the variable ``EXPUNGE_DATA``.
        seed: Of the draw of the retained images that are used. Default 0.

    Raises:
        DataError: If the data are missing.
        MissingExtraError: If diffusers is not installed.
    """
    original = DDPM.from_pretrained(MODELS / plan.name / "ddpm")
    source: Source = find("readers", plan.name)(data_dir)
    judge, real = judge_of(plan, source), ShownImages.of(source.test)
    signed(source)
    request = ByClass(plan.forgotten)
    forget, retain = split_request(source.train, request, source.class_names)
    order = torch.randperm(len(retain), generator=torch.Generator().manual_seed(seed))
    used = retain[order[: plan.retained]].sort().values
    split = Split(Subset(source.train, forget), Subset(source.train, used), len(source.class_names))
    return Case(source, real, split, request, original, judge)


def judge_of(plan: Plan, source: Source) -> Judge:
    """Return the judge, fed as the data's reader scales its images."""
    model = find("models", JUDGE)(len(source.class_names), channels=source.shape[0])
    load_into(model, MODELS / plan.name / "judge.safetensors")
    return Judge(model, JUDGE, prepare=scale_of(source))
