"""MSG: re-initialize the weights that neither side pulls, then fine-tune with the others held back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from expunge.batch import Predictor, Split
from expunge.engine import EditStage, MethodRecipe, Schedule
from expunge.masks import SmallGradients
from expunge.masks.small_gradients import layer_weights
from expunge.methods.method import Method
from expunge.objectives import CrossEntropy
from expunge.surgery import WeightedSum


@dataclass(frozen=True, kw_only=True)
class MSG(Method):
    """Re-initialize the weights that neither side pulls, then fine-tune with the others held back (MSG).

    Source: "masked small gradients", a finalist of the NeurIPS 2023 unlearning competition, after the account of "Deep
    Unlearn: Benchmarking Machine Unlearning" (Cadet et al., 2024, arXiv 2410.01276) and its public code.

    Formula: in each convolutional layer the share p of weights with the smallest |g_r − g_f| is drawn anew from a
    normal distribution of variance 2/(fan out); then FT, where these weights make full steps and the others of the
    layer steps of s; see ``expunge.masks.SmallGradients``.

    Args:
        fraction: p in (0, 1]. Default .3 (this and the following: authors).
        slow_factor: s in [0, 1]. Default .1.
        epochs: Passes over D_r. Default 5.
        lr: Default 1e-3.
        batch_size: Default 64.
        max_grad_norm: Default none (authors).
        schedule: Default cosine, in place of the authors' linear rise over half of the epochs and fall over the rest.

    Raises:
        ConfigError: If a share is out of its range.
        ModelError: When carried out, if the model has no convolutional or linear layer.

    Examples:
        >>> MSG(fraction=0.2).recipe(seed=5).stages[1].mask
        SmallGradients(fraction=0.2, slow_factor=0.1, seed=5)

    Differences from the authors' code: s holds for the whole update; the schedule.
    """

    name: ClassVar[str] = "msg"
    aliases: ClassVar[tuple[str, ...]] = ("masked_small_gradients",)
    paper: ClassVar[str] = "NeurIPS 2023 competition; arXiv 2410.01276"
    label: ClassVar[str] = "MSG"

    fraction: float = 0.3
    slow_factor: float = 0.1
    epochs: int = 5
    lr: float = 1e-3
    batch_size: int = 64
    max_grad_norm: float | None = None
    schedule: Schedule = "cosine"

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        super().__post_init__()
        SmallGradients(self.fraction, self.slow_factor)

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return the re-initialization and the fine-tuning, which share a mask."""
        mask = SmallGradients(self.fraction, self.slow_factor, seed)
        repair = self.make_stage(CrossEntropy(), CrossEntropy(), WeightedSum(0.0, 1.0), "retain", mask)
        # Statistics of the original are not those of the redrawn network.
        repair = replace(repair, batch_norm="separate")
        return MethodRecipe(
            (EditStage(lambda predict, data: reinitialize_masked(predict, data, mask), "re-initialize"), repair)
        )


def reinitialize_masked(predict: Predictor, data: Split, mask: SmallGradients) -> None:
    """Draw anew, in place, the weights that the mask gives full steps."""
    chosen = {id(weight) for weight in layer_weights(predict.model)}
    parameters = [parameter for parameter in predict.model.parameters() if parameter.requires_grad]
    for parameter, steps in zip(parameters, mask.get_mask(), strict=True):
        if id(parameter) in chosen:
            fresh = nn.init.kaiming_normal_(torch.empty_like(parameter), mode="fan_out", nonlinearity="relu")
            parameter.copy_(torch.where(steps >= 1, fresh, parameter))
