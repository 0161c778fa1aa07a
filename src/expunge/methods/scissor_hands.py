"""ScissorHands: cut the connections that what is forgotten runs through, then mend the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from expunge.batch import Predictor, Split
from expunge.engine import Edit, Recipe
from expunge.errors import ConfigError, ModelError
from expunge.masks.saliency import full_gradient
from expunge.methods.method import Method
from expunge.objectives import Ascent, CrossEntropy
from expunge.surgery import Episodic


@dataclass(frozen=True, kw_only=True)
class ScissorHands(Method):
    """Re-initialise the most sensitive weights of the last layers, then mend (ScissorHands).

    Paper: "Scissorhands: Scrub Data Influence via Connection Sensitivity in Networks" (Wu and Harandi, ECCV 2024, arXiv
    2401.06187).

    Formula: weights with |g_f,i θ_i| above the κ-quantile over all weights are drawn anew (uniformly, as PyTorch draws
    them; biases become 0) if they belong to the last layers; then the descent of ``expunge.surgery.Episodic``.

    Args:
        quantile: κ in [0, 1). Default .97 (this, λ and the rate: the authors' run on a random tenth of CIFAR-10).
        last: Share of the convolutional and linear layers, counted from the head, that may be trimmed, in (0, 1].
            Default .5; the authors take the last two of four stages of a ResNet and its head.
        weight: λ > 0. Default .05; the authors take .1 for a class of SVHN, 1 for CIFAR-100.
        margin: ρ ≥ 0. Default .5 (authors).
        epochs: Default 10 (authors).
        rate: Default 5e-3.

    Raises:
        ConfigError: If a setting is out of its range.
        ModelError: When carried out, if the model has no convolutional or linear layer.

    Examples:
        >>> [type(stage).__name__ for stage in ScissorHands().recipe().stages]
        ['Edit', 'Descend']

    Differences from the authors' code: the sensitivity uses all of D_f instead of one batch; the last layers are found
    by their order instead of by name; the projection is laid on all weights.
    """

    aliases: ClassVar[tuple[str, ...]] = ("scissorhands", "shs")
    paper: ClassVar[str] = "Wu and Harandi, ECCV 2024"
    label: ClassVar[str] = "ScissorHands"

    quantile: float = 0.97
    last: float = 0.5
    weight: float = 0.05
    margin: float = 0.5
    epochs: int = 10
    rate: float = 5e-3

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        super().__post_init__()
        if not (0 <= self.quantile < 1 and 0 < self.last <= 1):
            found = f"{self.quantile} and {self.last}"
            raise ConfigError("a quantile in [0, 1) and a share of layers in (0, 1]", found, "change them")

    def recipe(self, seed: int = 0) -> Recipe:
        """Return the trimming and the projected descent."""
        repair = self.stage(Ascent(), CrossEntropy(), Episodic(self.weight, self.margin))
        return Recipe((Edit(self.trim, "trim"), repair))

    def trim(self, predict: Predictor, data: Split) -> None:
        """Re-initialise the most sensitive weights of the last layers in place."""
        parameters = [parameter for parameter in predict.model.parameters() if parameter.requires_grad]
        gradient = full_gradient(predict, data.forget, 256)
        sensitive = [(slope * weight).abs() for slope, weight in zip(gradient, parameters, strict=True)]
        threshold = quantile(torch.cat([piece.flatten() for piece in sensitive]), self.quantile)
        open_to_change = {id(parameter) for layer in last_layers(predict.model, self.last) for parameter in layer}
        for parameter, piece in zip(parameters, sensitive, strict=True):
            if id(parameter) in open_to_change:
                parameter.copy_(torch.where(piece > threshold, drawn(parameter), parameter))


def quantile(values: torch.Tensor, share: float) -> torch.Tensor:
    """Return the largest of the smallest ``share`` of the values; 0 where that is none."""
    count = int(share * len(values))
    return values.kthvalue(count).values if count else values.new_zeros(())


def last_layers(model: nn.Module, share: float) -> list[list[nn.Parameter]]:
    """Return the weights and biases of the last convolutional and linear layers, in the order of definition.

    Raises:
        ModelError: If there is none.
    """
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    layers = [list(module.parameters(recurse=False)) for module in model.modules() if isinstance(module, kinds)]
    if not layers:
        raise ModelError("a convolutional or linear layer to trim", "none", "use another method")
    return layers[len(layers) - math.ceil(share * len(layers)) :]


def drawn(parameter: torch.Tensor) -> torch.Tensor:
    """Return new values as PyTorch's layers draw their weights; biases are 0."""
    fresh = torch.zeros_like(parameter)
    return nn.init.kaiming_uniform_(fresh, a=math.sqrt(5)) if fresh.dim() > 1 else fresh
