"""Objectives of models that predict numbers: the same ideas as for classes, on a loss of outputs and targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Batch, Examples, Predictor, Split
from expunge.data import read_values
from expunge.errors import ObjectiveError
from expunge.objectives.layers import BATCH_SIZE, all_features, inner_layers
from expunge.objectives.neighbors import nearest_neighbors
from expunge.objectives.objective import Model, Objective
from expunge.objectives.random_label import hash_indices
from expunge.objectives.teacher import Teacher
from expunge.tasks.targets.loss import PointwiseLoss, get_loss

__all__ = [
    "MeanTarget",
    "NegativeTargetLoss",
    "NeighborTarget",
    "PermutedTarget",
    "TargetDistillation",
    "TargetLoss",
]

NEIGHBOR_COUNTS = (1, 3, 10, 30)
MAX_KEYS, MAX_PROBES = 5_000, 1_000
"""Retained and held-out examples on which layer and count are chosen, at most."""


class TargetObjective(Objective, ABC):
    """A mean loss between outputs and targets; which targets is the objective's."""

    task: ClassVar[str] = "regression"
    _loss: PointwiseLoss | None = None

    def prepare(self, original: Predictor, data: Split) -> None:
        """Take note of the loss that the model was trained on."""
        self._loss = get_loss(original)

    @property
    def loss(self) -> PointwiseLoss:
        """The loss.

        Raises:
            ObjectiveError: Before ``prepare``.
        """
        if self._loss is None:
            actual = "none, because prepare has not been called"
            raise ObjectiveError("the loss of the task", actual, "call prepare(predictor, split) first")
        return self._loss

    @abstractmethod
    def compute_targets(self, batch: Batch) -> Tensor:
        """Return what the model is to say of a batch, ``(n, k)``."""

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return the mean loss."""
        return self.loss.compute(model(batch.inputs), self.compute_targets(batch)).mean()


class TargetLoss(TargetObjective):
    """Keep the targets by the loss of training: mean squared error, or binary cross entropy of each label.

    Formula: mean over examples of (1/k) Σ_j ℓ(f_j(x), y_j).

    Examples:
        >>> TargetLoss()
        TargetLoss()
    """

    paper: ClassVar[str] = "standard"

    def compute_targets(self, batch: Batch) -> Tensor:
        """Return the true targets."""
        return batch.targets


class NegativeTargetLoss(TargetLoss):
    """Push the targets away by minus the loss of training: gradient ascent.

    Formula: −(1/k′) Σ_j ℓ(f_j(x), y_j) over the k′ targets to forget, mean over examples. It is unbounded below, so it
    needs few steps, small ones.

    Examples:
        >>> NegativeTargetLoss.can_be_negative
        True
    """

    paper: ClassVar[str] = "Graves et al. 2021; Thudi et al. 2022"
    can_be_negative: ClassVar[bool] = True

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return minus the mean loss."""
        losses = self.loss.elementwise(model(batch.inputs), batch.targets)
        chosen = self.loss.select_forgotten(batch.targets)
        return -(losses * chosen).sum(1).div(chosen.sum(1)).mean()


class PermutedTarget(TargetObjective):
    """Train towards the targets of retained examples drawn at random, once per epoch and example.

    Paper: random labelling (RL), Golatkar et al. (2020), with targets that occur in the data in the place of labels.

    Formula: mean over examples of (1/k) Σ_j ℓ(f_j(x), y_j(x̃)), x̃ uniform over the retained examples.

    Args:
        seed: Of the draws; with the epoch it fixes them. Default 0.

    Examples:
        >>> PermutedTarget()
        PermutedTarget(seed=0)
    """

    paper: ClassVar[str] = "Golatkar et al. 2020"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.values = torch.empty(0, 0)

    def prepare(self, original: Predictor, data: Split) -> None:
        """Take note of the retained examples' targets."""
        super().prepare(original, data)
        self.values = read_values(data.retain)

    def sample(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Return the batch with ``drawn``, targets of other examples, the same for an example throughout an epoch."""
        rows = hash_indices(batch.indices.cpu(), self.seed, epoch) * len(self.values) >> 32
        return batch.with_extras(drawn=self.values[rows].to(batch.targets))

    def compute_targets(self, batch: Batch) -> Tensor:
        """Return the drawn targets."""
        return self.loss.mix(batch.targets, batch.extras["drawn"])


class MeanTarget(TargetObjective):
    """Train towards the mean target of the retained examples: what is said of an example that nothing is known of.

    Formula: mean over examples of (1/k) Σ_j ℓ(f_j(x), ȳ_j), ȳ the mean over the retained examples.

    Examples:
        >>> MeanTarget()
        MeanTarget()
    """

    paper: ClassVar[str] = "ours; as UniformTarget for classes"

    def prepare(self, original: Predictor, data: Split) -> None:
        """Compute the mean."""
        super().prepare(original, data)
        self.mean = read_values(data.retain).double().mean(0)

    def compute_targets(self, batch: Batch) -> Tensor:
        """Return the mean for each example."""
        return self.loss.mix(batch.targets, self.mean.to(batch.targets).expand_as(batch.targets))


class TargetDistillation(TargetObjective):
    """Imitate the original: its predictions in the place of targets.

    Formula: mean over examples of (1/k) Σ_j ℓ(f_j(x), f⁰_j(x)), f⁰ the original's prediction.

    Examples:
        >>> TargetDistillation()
        TargetDistillation()
    """

    paper: ClassVar[str] = "Chundawat et al. 2023; as Distillation for classes"

    def prepare(self, original: Predictor, data: Split) -> None:
        """Keep a frozen copy of the original."""
        super().prepare(original, data)
        self.teacher = Teacher(original)

    def sample(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Return the batch with ``teacher``, what the original predicts."""
        return batch.with_extras(teacher=self.loss.decode(self.teacher(batch)))

    def compute_targets(self, batch: Batch) -> Tensor:
        """Return what the original predicts."""
        return batch.extras["teacher"]


class NeighborTarget(TargetObjective):
    """Train towards the mean target of the retained examples that are nearest: what an example looks like to others.

    Source: ours, as ``NeighborLabel`` for classes.

    Formula: mean over examples of (1/k) Σ_j ℓ(f_j(x), q_j(x)), q the mean target of the m retained examples nearest to
    x by the cosine of the original's features in one layer. Layer (the inputs among them, where they are rows of
    numbers) and m are chosen with held-out examples, which the original never saw: the least

        mean over held-out of (q − f⁰)²  +  |mean over retained of (q − y)²  −  mean over held-out of (f⁰ − y)²|

    with f⁰ the original's prediction, in the units of the loss, q of a retained example by the others. The second term
    is what can be known of memorized examples: without it the last layers win, whose features know the target.

    Args:
        layer: Dotted name of a module. Default: chosen; without held-out examples the one in the middle.
        num_neighbors: m. Default: chosen among 1, 3, 10 and 30; without held-out examples 10.

    Raises:
        ObjectiveError: If there is to be no neighbor; when called, for examples that are not to be forgotten.

    Examples:
        >>> NeighborTarget(num_neighbors=3)
        NeighborTarget(layer=None, num_neighbors=3)
    """

    paper: ClassVar[str] = "ours; neighbours as in arXiv 1803.04765"

    def __init__(self, layer: str | None = None, num_neighbors: int | None = None) -> None:
        if num_neighbors is not None and num_neighbors < 1:
            raise ObjectiveError("neighbours ≥ 1", f"{num_neighbors}", "leave it out: it is chosen")
        self.layer, self.num_neighbors = layer, num_neighbors
        self.indices, self.values = torch.empty(0, dtype=torch.int64), torch.empty(0, 0)

    def prepare(self, original: Predictor, data: Split) -> None:
        """Choose layer and count, and find the mean target of the neighbors of every forgotten example."""
        super().prepare(original, data)
        layer, count = self.choose(original, data)
        queries, keys = (all_features(original, side, [layer])[layer] for side in (data.forget, data.retain))
        positions = nearest_neighbors(queries, keys, count)[1].cpu()
        indices = data.forget.batch(torch.arange(len(data.forget))).indices.cpu()
        order = indices.argsort()
        self.indices, self.values = indices[order], read_values(data.retain)[positions].mean(1)[order]

    @torch.no_grad()
    def choose(self, original: Predictor, data: Split) -> tuple[str, int]:
        """Return the layer and the count that say of held-out examples what the original says."""
        layers = [self.layer] if self.layer is not None else list_layers(original, data.retain)
        counts = [self.num_neighbors] if self.num_neighbors is not None else NEIGHBOR_COUNTS
        if data.holdout is None or not len(data.holdout) or len(layers) * len(counts) == 1:
            return layers[len(layers) // 2], self.num_neighbors or 10
        generator = torch.Generator().manual_seed(0)
        keys, probes = (
            torch.randperm(len(side), generator=generator)[:limit]
            for side, limit in ((data.retain, MAX_KEYS), (data.holdout, MAX_PROBES))
        )
        key_features = all_features(original, data.retain, layers, keys)
        probe_features = all_features(original, data.holdout, layers, probes)
        device = next(iter(key_features.values())).device
        values, truth = (
            read_values(side)[chosen].to(device) for side, chosen in ((data.retain, keys), (data.holdout, probes))
        )
        outputs = [original(data.holdout.batch(part).to(device).inputs) for part in probes.split(BATCH_SIZE)]
        answers = self.loss.decode(torch.cat(outputs)).to(values)
        usual = self.mean_square(answers, truth)
        errors = dict[tuple[str, int], float]()
        for layer in layers:
            near = nearest_neighbors(probe_features[layer], key_features[layer], max(counts))[1]
            own = nearest_neighbors(key_features[layer][:MAX_PROBES], key_features[layer], max(counts) + 1)[1][:, 1:]
            for count in counts:
                seen = self.mean_square(values[own[:, :count]].mean(1), values[:MAX_PROBES])
                unseen = self.mean_square(values[near[:, :count]].mean(1), answers)
                errors[layer, count] = unseen + abs(seen - usual)
        return min(errors, key=errors.__getitem__)

    def mean_square(self, values: Tensor, others: Tensor) -> float:
        """Return the mean squared difference of values in the form of targets."""
        return float(self.loss.difference(values, others).square().mean())

    def sample(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Return the batch with ``neighbors``, the mean target of the neighbors of each example."""
        indices = batch.indices.cpu()
        rows = torch.searchsorted(self.indices, indices).clamp(max=len(self.indices) - 1)
        if not torch.equal(self.indices[rows], indices):
            raise ObjectiveError("examples that are to be forgotten", "others", "prepare with the split of the request")
        return batch.with_extras(neighbors=self.values[rows].to(batch.targets))

    def compute_targets(self, batch: Batch) -> Tensor:
        """Return the neighbors' mean target."""
        return self.loss.mix(batch.targets, batch.extras["neighbors"])


def list_layers(original: Predictor, examples: Examples) -> list[str]:
    """Return the layers whose features are compared: inner ones, and the inputs where they are rows of numbers."""
    inputs = examples.batch(torch.arange(1)).inputs
    is_row = isinstance(inputs, Tensor) and inputs.ndim == 2 and inputs.is_floating_point()
    return list(dict.fromkeys([*([""] if is_row else []), *inner_layers(original, examples)]))
