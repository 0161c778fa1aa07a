"""Trimming: re-initialize the weights that what is forgotten runs through, before a descent mends the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn

from expunge.batch import Predictor, Split
from expunge.errors import ConfigError, ModelError
from expunge.masks.saliency import full_gradient

QuantileOver = Literal["all", "eligible"]


@dataclass(frozen=True)
class SensitiveReinitialization:
    """Re-initialize the most sensitive weights of the last layers, as ScissorHands does (arXiv 2401.06187).

    Formula: weights with |g_f,i θ_i| above the κ-quantile over all weights are drawn anew (uniformly, as PyTorch draws
    them; biases become 0) if they belong to the last layers; g_f is the gradient of the mean cross entropy over D_f.

    Args:
        quantile: κ in [0, 1).
        last_fraction: Share of the convolutional and linear layers, counted from the head, that may be trimmed, in
            (0, 1].
        quantile_over: Whose quantile: of ``all`` weights (default) or of the ``eligible`` ones, those of these layers.

    Raises:
        ConfigError: If a setting is out of its range.

    Examples:
        >>> SensitiveReinitialization(0.97, last_fraction=0.5).quantile
        0.97
    """

    quantile: float
    last_fraction: float
    quantile_over: QuantileOver = "all"

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        if not (0 <= self.quantile < 1 and 0 < self.last_fraction <= 1):
            actual = f"{self.quantile} and {self.last_fraction}"
            raise ConfigError("a quantile in [0, 1) and a share of layers in (0, 1]", actual, "change them")
        if self.quantile_over not in get_args(QuantileOver):
            raise ConfigError("a quantile over all or eligible", f"'{self.quantile_over}'", "choose one of them")

    def __call__(self, predict: Predictor, data: Split) -> None:
        """Re-initialize them in place.

        Raises:
            ModelError: If the model has no convolutional or linear layer.
        """
        open_to_change = {
            id(parameter) for layer in last_layers(predict.model, self.last_fraction) for parameter in layer
        }
        parameters = [parameter for parameter in predict.model.parameters() if parameter.requires_grad]
        gradient = full_gradient(predict, data.forget, 256)
        sensitive = [(slope * weight).abs() for slope, weight in zip(gradient, parameters, strict=True)]
        pool = [
            piece.flatten()
            for parameter, piece in zip(parameters, sensitive, strict=True)
            if self.quantile_over == "all" or id(parameter) in open_to_change
        ]
        threshold = find_threshold(torch.cat(pool), self.quantile) if pool else sensitive[0].new_zeros(())
        for parameter, piece in zip(parameters, sensitive, strict=True):
            if id(parameter) in open_to_change:
                parameter.copy_(torch.where(piece > threshold, default_init(parameter), parameter))


def find_threshold(values: torch.Tensor, fraction: float) -> torch.Tensor:
    """Return the largest of the smallest ``fraction`` of the values; 0 where that is none."""
    count = int(fraction * len(values))
    return values.kthvalue(count).values if count else values.new_zeros(())


def last_layers(model: nn.Module, fraction: float) -> list[list[nn.Parameter]]:
    """Return the weights and biases of the last convolutional and linear layers, in the order of definition."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    layers = [list(module.parameters(recurse=False)) for module in model.modules() if isinstance(module, kinds)]
    if not layers:
        raise ModelError("a convolutional or linear layer to trim", "none", "use another method")
    return layers[len(layers) - math.ceil(fraction * len(layers)) :]


def default_init(parameter: torch.Tensor) -> torch.Tensor:
    """Return new values as PyTorch's layers draw their weights; biases are 0."""
    fresh = torch.zeros_like(parameter)
    return nn.init.kaiming_uniform_(fresh, a=math.sqrt(5)) if fresh.dim() > 1 else fresh
