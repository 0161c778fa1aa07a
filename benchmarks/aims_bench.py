"""The data sets and networks on which the default is held to its aims: digits, Fashion-MNIST, CIFAR-10.

Not a script: ``aims.py`` uses it. As in ``fashion_bench.py``, every seed draws its own images to train on and to
hold out.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from fashion_bench import Bench, Cell
from torch import nn

from expunge import Budget, unlearn
from expunge.budget import BudgetResult
from expunge.data import LabeledDataset
from expunge.evaluation import ModelScores
from expunge.metrics import accuracy, summarize
from expunge.tasks.classification.models import resnet20, small_cnn
from expunge.tasks.classification.readers import digits

AUTO = "auto"


class AimsBench(Bench):
    """A bench whose cells may be the default of ``expunge.unlearn`` inside a budget.

    Attributes:
        points: The budget.
    """

    points = 1.0

    def __init__(self, data_dir: Path, cache: Path) -> None:
        super().__init__(data_dir, cache)
        self.reference = lru_cache(maxsize=None)(self._reference)

    def unlearned(self, cell: Cell) -> dict[str, Any]:
        """Unlearn as a user would who names data and budget and nothing else."""
        if cell.method != AUTO:
            return super().unlearned(cell)
        case, model = self.case(cell.kind, cell.seed), self.original(cell.seed)
        parts: dict[str, Any] = {"forget": case.split.forget, "retain": case.split.retain, "holdout": case.control}
        began = time.process_time()
        result = unlearn(model, **parts, budget=Budget(accuracy_points=self.points), seed=cell.seed)
        told: dict[str, Any] = {"budget": cast(BudgetResult, result.budget).as_dict(), "search": result.search_history}
        told["cpu_seconds"] = time.process_time() - began
        drop = self.kept(cell, model) - self.kept(cell, result.model)
        return {"seconds": result.seconds, **told, "true_drop": drop, **self.judged(result.model, cell, case)}

    def kept(self, cell: Cell, model: nn.Module) -> float:
        """Return the test accuracy on the classes that stay, which is what a budget is about."""
        case = self.case(cell.kind, cell.seed)
        scores = self.outputs(model, case).test
        stay = [label for label in range(10) if cell.kind != "class" or label != self.forgotten]
        part = scores.only(torch.tensor(stay))
        return float(accuracy(part.logits, part.targets) or 0.0)

    def untouched(self, kind: str, seeds: Sequence[int], *, retrained: bool = False) -> dict[str, Any]:
        """Return the figures of the original, or of the retrained network."""
        trials = []
        for seed in seeds:
            reference = self.reference(kind, seed, 0)
            seen = reference if retrained else self.outputs(self.original(seed), self.case(kind, seed))
            trials.append(
                ModelScores.from_outputs(seen, key="", label="", role="original", seed=seed, retrained=reference)
            )
        keys = trials[0].scores
        return {key: summarize([trial.scores.get(key) for trial in trials]).as_dict() for key in keys}


class Digits(AimsBench):
    """300 digits of 8×8 pixels and a small CNN, as in the demo."""

    train, control, test = 300, 598, 899
    points = 3.0
    forgotten = 3
    training: Mapping[str, Any] = {"epochs": 40, "batch": 32, "rate": 0.05}

    def read_source(self, data_dir: Path) -> LabeledDataset:
        """Return the digits, one half to test on."""
        return digits(test_share=0.5, seed=0)

    def network(self) -> nn.Module:
        """Return the demo's network."""
        return small_cnn(10, 1)


class FashionMNIST(AimsBench):
    """54,000 images, 6,000 held out, all 10,000 to test on, and the network of the study of all methods."""

    train, control, test = 54_000, 6_000, 10_000
    training: Mapping[str, Any] = {"epochs": 20, "batch": 128, "rate": 0.1, "schedule": "one_cycle"}


class FashionSubset(AimsBench):
    """The images, draws and networks of the study of all methods: 12,000, 3,000 held out, 3,000 to test on."""


class CIFAR10(AimsBench):
    """ResNet-20 on CIFAR-10, 5,000 images held out."""

    reader = "cifar10"
    train, control, test = 45_000, 5_000, 10_000
    training: Mapping[str, Any] = {"epochs": 20, "batch": 128, "rate": 0.1, "schedule": "one_cycle"}

    def network(self) -> nn.Module:
        """Return the network."""
        return resnet20(10)


BENCHES: Mapping[str, type[AimsBench]] = {
    "digits": Digits,
    "fashion_mnist": FashionMNIST,
    "fashion_mnist_12000": FashionSubset,
    "cifar10": CIFAR10,
}
