"""RandomLabel: train the forgotten examples towards labels drawn at random."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from expunge.batch import Batch, Predictor, Split
from expunge.objectives.objective import Model, Objective


class RandomLabel(Objective):
    """Train towards labels that are drawn uniformly, once per epoch and example.

    Paper: random labeling (RL), Golatkar et al. (2020); redrawn every epoch over all classes as in EUPMU
    (arXiv 2510.22124, authors' settings).

    Formula: mean over examples of −log p_ỹ(x), ỹ uniform over the classes, or over all but y. A class that an earlier
    request forgot is never drawn: its label on other examples would bring it back.

    Args:
        exclude_true: Never draw the true label. Default false (authors).
        seed: Of the labels; with the epoch it fixes them. Default 0.

    Examples:
        >>> objective = RandomLabel(exclude_true=True)
        >>> batch = Batch(torch.zeros(3, 2), torch.tensor([0, 1, 0]), torch.tensor([5, 2, 9]))
        >>> drawn = objective.sample(batch, epoch=0, generator=torch.Generator())
        >>> objective.sample_labels(drawn, classes=2).tolist()
        [1, 0, 1]

    Differences from public code: the labels depend on seed, epoch and example alone, never on the data set's name;
    forgotten examples are not marked by negated labels.
    """

    aliases: ClassVar[tuple[str, ...]] = ("rl",)
    paper: ClassVar[str] = "Golatkar et al. 2020; arXiv 2510.22124"

    def __init__(self, exclude_true: bool = False, seed: int = 0) -> None:
        self.exclude_true, self.seed = exclude_true, seed
        self.forgotten_classes: tuple[int, ...] = ()

    def prepare(self, original: Predictor, data: Split) -> None:
        """Note which classes are not to be drawn."""
        self.forgotten_classes = data.forgotten_classes

    def sample(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Return the batch with ``words``, random 32-bit numbers (n,), the same for an example throughout an epoch."""
        return batch.with_extras(words=hash_indices(batch.indices.to(batch.targets.device), self.seed, epoch))

    def sample_labels(self, batch: Batch, classes: int) -> Tensor:
        """Return the drawn labels (n,) of a head with so many classes; a class that no batch shows has its share."""
        words, targets = batch.extras["words"], batch.targets
        if self.forgotten_classes:
            return self.sample_remaining_labels(words, targets, classes)
        if self.exclude_true:
            return (targets + 1 + (words * (classes - 1) >> 32).to(targets)) % classes
        return (words * classes >> 32).to(targets)

    def sample_remaining_labels(self, words: Tensor, targets: Tensor, classes: int) -> Tensor:
        """Return labels (n,) drawn from the classes that no earlier request forgot; the true one if no other is left.

        Examples:
            >>> objective = RandomLabel()
            >>> objective.forgotten_classes = (1,)
            >>> draws, labels = torch.tensor([0, 2**32 - 1]), torch.tensor([0, 0])
            >>> objective.sample_remaining_labels(draws, labels, classes=3).tolist()
            [0, 2]
        """
        left = torch.tensor(
            [label for label in range(classes) if label not in self.forgotten_classes], device=targets.device
        )
        places = torch.searchsorted(left, targets).clamp(max=max(len(left) - 1, 0))
        among = (left[places] == targets) if self.exclude_true and len(left) > 1 else torch.zeros_like(targets).bool()
        drawn = (words * (len(left) - among.long()) >> 32).to(targets)
        return left[torch.where(among, (places + 1 + drawn) % len(left), drawn)]

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return the mean cross entropy with the drawn labels."""
        logits = model(batch.inputs)
        return functional.cross_entropy(logits, self.sample_labels(batch, logits.shape[1]))


def hash_indices(indices: Tensor, seed: int, epoch: int) -> Tensor:
    """Return for each index a number in [0, 2³²) that depends on (index, seed, epoch) alone.

    A hash instead of a table: examples are known by index, in any order and any number, and nothing is stored.
    Multiply-xorshift rounds of 32-bit words (the constants are those of "lowbias32") in int64, so that nothing
    overflows.
    """
    start = ((seed ^ seed >> 32) * 0x85EBCA77 + epoch * 0xC2B2AE3D + 0x27D4EB2F) & 0xFFFFFFFF
    state = (indices.long() * 0x9E3779B1 + start) & 0xFFFFFFFF
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 0x7FEB352D)):
        state = ((state ^ (state >> shift)) * factor) & 0xFFFFFFFF
    return state ^ (state >> 16)
