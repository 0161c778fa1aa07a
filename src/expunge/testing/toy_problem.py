"""Bench: a network, batches and objectives on which contracts are tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from expunge.batch import Batch, Predictor, Split
from expunge.data import TensorExamples
from expunge.objectives import CrossEntropy, Objective, RandomLabel
from expunge.pair import Pair


@dataclass(frozen=True)
class ToyProblem:
    """A problem small enough to be solved many times over.

    Args:
        network: Takes a type of numbers and returns the same small smooth network at each call.
        batch: Takes a seed, a type of numbers and a size, and returns the batch that they determine.
        objectives: Returns new objectives.
        predict: Takes a network and gives the way to read it. Default: it returns logits.
        classes: Number of classes. Default 3.

    Examples:
        >>> CLASSIFIER.batch(0, torch.float32, 16).inputs.shape
        torch.Size([16, 6])
    """

    network: Callable[[torch.dtype], nn.Module]
    batch: Callable[[int, torch.dtype, int], Batch]
    objectives: Callable[[], Pair[Objective]]
    predict: Callable[[nn.Module], Predictor] = Predictor
    classes: int = 3

    def split(self, dtype: torch.dtype = torch.float32) -> Split:
        """Return examples to forget and to retain."""
        sides = (self.batch(900, dtype, 12), self.batch(901, dtype, 40))
        forget, retain = (TensorExamples(side.inputs, side.targets) for side in sides)
        return Split(forget, retain, self.classes)

    def prepare_objectives(self, model: nn.Module) -> Pair[Objective]:
        """Return new objectives that have looked at a network and at the split."""
        objectives = self.objectives()
        for objective in objectives:
            objective.prepare(self.predict(model), self.split(next(model.parameters()).dtype))
        return objectives


def make_network(dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return the same small smooth network at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)


def make_batch(seed: int, dtype: torch.dtype = torch.float32, size: int = 16) -> Batch:
    """Return a batch that the seed determines."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(size, 6, generator=generator, dtype=torch.float64).to(dtype)
    return Batch(inputs, torch.randint(0, 3, (size,), generator=generator), torch.arange(size))


def make_objectives() -> Pair[Objective]:
    """Return random labels against the true ones."""
    return Pair(RandomLabel(), CrossEntropy())


CLASSIFIER = ToyProblem(make_network, make_batch, make_objectives)
"""A small classifier of three classes."""
