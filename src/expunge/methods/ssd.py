"""SSD: shrink the weights that matter more to what is forgotten than to everything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Examples, Predictor, Split, sample_indices
from expunge.engine import EditStage, MethodRecipe
from expunge.errors import ConfigError
from expunge.masks.fisher_ratio import fisher_diagonal, fisher_from_groups
from expunge.methods.method import Method


@dataclass(frozen=True, kw_only=True)
class SSD(Method):
    """Shrink the weights that matter more to D_f than to all data, without training (SSD).

    Paper: "Fast Machine Unlearning Without Retraining Through Selective Synaptic Dampening" (Foster et al., AAAI 2024,
    arXiv 2308.07707).

    Formula: θ_i ← min(λ F_i / F_f,i, 1) θ_i where F_f,i > α F_i, else θ_i as it was; F_f and F the diagonals of the
    Fisher information over D_f and over the shuffled union D_f ∪ D_r, by groups whose gradients are summed before
    squaring, see ``expunge.masks.fisher_ratio.fisher_from_groups``.

    Args:
        selection: α > 0. Default 10 (authors, ResNet-18; 5 for vision transformers). With single examples F_f/F is at
            most n/n_f, so that no α above that selects anything; with groups up to (n/n_f)², because what pulls all of
            D_f in one direction counts by its square, and in the union among n/n_f times as many examples.
        dampening: λ ≥ 0. Default 1 (authors).
        group: Examples whose gradients are summed before squaring. Default 128 (authors' batch); 1 is the paper's
            formula, one backward pass for each example.
        epochs: Passes of fine-tuning on D_r afterwards, with ``lr``, ``batch_size`` and so on. Default 0 (authors).

    Raises:
        ConfigError: If a setting is out of its range.

    Examples:
        >>> [stage.label for stage in SSD().recipe().stages]
        ['dampen']

    Differences from the authors' code: F is not biased by a last batch that is smaller than the others, and D_f, where
    it is smaller than a batch, counts in full.
    """

    name: ClassVar[str] = "ssd"
    aliases: ClassVar[tuple[str, ...]] = ("selective_synaptic_dampening",)
    paper: ClassVar[str] = "Foster et al., AAAI 2024"
    label: ClassVar[str] = "SSD"
    min_epochs: ClassVar[int] = 0

    epochs: int = 0
    selection: float = 10.0
    dampening: float = 1.0
    group: int = 128

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        super().__post_init__()
        if not (self.selection > 0 and self.dampening >= 0 and self.group >= 1):
            actual = f"{self.selection}, {self.dampening} and {self.group}"
            raise ConfigError("selection > 0, dampening ≥ 0 and group ≥ 1", actual, "change the one that breaks this")

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return the dampening, and fine-tuning where it is asked for."""

        def dampen(predict: Predictor, data: Split) -> None:
            self.dampen(predict, data, seed)

        return MethodRecipe((EditStage(dampen, "dampen"), *self.make_finetune_stages()))

    def dampen(self, predict: Predictor, data: Split, seed: int) -> None:
        """Dampen the model's weights in place; the seed shuffles the union."""
        forget = fisher_diagonal(predict, data.forget, self.group)
        union_fisher = fisher_from_groups(
            predict, shuffle_groups(data, self.group, seed), len(data.forget) + len(data.retain)
        )
        parameters = [parameter for parameter in predict.model.parameters() if parameter.requires_grad]
        for parameter, forget_piece, union_piece in zip(parameters, forget, union_fisher, strict=True):
            parameter.mul_(dampening_factors(forget_piece, union_piece, self.selection, self.dampening))


def shuffle_groups(data: Split, group: int, seed: int) -> Iterator[list[tuple[Examples, Tensor]]]:
    """Yield groups of the shuffled union of both sides, each as its forget and its retain part."""
    border = len(data.forget)
    order = sample_indices(total := border + len(data.retain), total, seed)
    for part in order.split(group):
        yield [(data.forget, part[part < border]), (data.retain, part[part >= border] - border)]


def dampening_factors(forget: Tensor, everything: Tensor, selection: float, dampening: float) -> Tensor:
    """Return by what each weight is multiplied.

    Examples:
        >>> forget, everything = torch.tensor([30.0, 3.0, 0.0]), torch.tensor([1.5, 1.5, 0.0])
        >>> dampening_factors(forget, everything, selection=10.0, dampening=1.0)
        tensor([0.0500, 1.0000, 1.0000])
    """
    ratio = (dampening * everything / forget).clamp(max=1.0)
    return torch.where(forget > selection * everything, ratio, 1.0)
