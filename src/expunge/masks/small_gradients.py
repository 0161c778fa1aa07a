"""SmallGradients: weights that neither side pulls learn anew, the others move slowly."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from expunge.batch import Predictor, Split, sample_indices
from expunge.errors import ConfigError, ModelError
from expunge.masks.saliency import full_gradient, largest_mask
from expunge.masks.static_mask import StaticMask
from expunge.surgery import Direction


class SmallGradients(StaticMask):
    """Full steps where |g_r − g_f| is smallest, slow ones elsewhere in the same layers.

    Source: MSG, "masked small gradients", a finalist of the NeurIPS 2023 unlearning competition, after the account of
    "Deep Unlearn: Benchmarking Machine Unlearning" (Cadet et al., 2024, arXiv 2410.01276) and its public code.

    Formula: in each convolutional layer m_i = 1 for the share p of weights with the smallest |g_r,i − g_f,i|, s for the
    others, with g_f the gradient of the mean cross entropy over D_f and g_r over as many examples of D_r, drawn at
    random. m = 1 outside of these layers. A model without convolutions takes its linear layers instead.

    Args:
        fraction: p in (0, 1]. Default .3 (authors).
        slow_factor: s in [0, 1]. Default .1 (authors).
        seed: Of the draw from D_r. Default 0.

    Raises:
        ConfigError: If a share is out of its range.
        ModelError: In ``prepare``, if the model has neither kind of layer.

    Examples:
        >>> SmallGradients(fraction=0.2)
        SmallGradients(fraction=0.2, slow_factor=0.1, seed=0)

    Differences from the authors' code: s scales the update instead of the gradient, so that it holds for momentum and
    weight decay too.
    """

    aliases: ClassVar[tuple[str, ...]] = ("msg",)
    paper: ClassVar[str] = "MSG; arXiv 2410.01276"

    def __init__(self, fraction: float = 0.3, slow_factor: float = 0.1, seed: int = 0) -> None:
        super().__init__()
        if not (0 < fraction <= 1 and 0 <= slow_factor <= 1):
            raise ConfigError(
                "shares in (0, 1] and [0, 1]", f"fraction={fraction}, slow_factor={slow_factor}", "use .3 and .1"
            )
        self.fraction, self.slow_factor, self.seed = fraction, slow_factor, seed

    def prepare(self, original: Predictor, data: Split) -> None:
        """Compare both gradients in each layer."""
        forget = full_gradient(original, data.forget, 256)
        positions = sample_indices(len(data.retain), len(data.forget), self.seed)
        retain = full_gradient(original, data.retain, 256, positions)
        chosen = {id(weight) for weight in layer_weights(original.model)}
        parameters = [parameter for parameter in original.model.parameters() if parameter.requires_grad]
        pieces = zip(parameters, retain - forget, strict=True)
        self.set_mask(self.step_factors(gap) if id(p) in chosen else torch.ones_like(gap) for p, gap in pieces)

    def step_factors(self, gap: Tensor) -> Tensor:
        """Return m for one layer."""
        small = largest_mask(Direction([-gap.abs() + gap.abs().max()]), self.fraction)[0]
        return torch.where(small, 1.0, self.slow_factor).to(gap)

    def __repr__(self) -> str:
        """Return the call that rebuilds the mask."""
        return f"SmallGradients(fraction={self.fraction}, slow_factor={self.slow_factor}, seed={self.seed})"


def layer_weights(model: nn.Module) -> list[Tensor]:
    """Return the trainable weights of all convolutions, or of all linear layers where there is no convolution."""
    for kinds in ((nn.Conv1d, nn.Conv2d, nn.Conv3d), (nn.Linear,)):
        weights: list[Tensor] = [module.weight for module in model.modules() if isinstance(module, kinds)]
        if any(weight.requires_grad for weight in weights):
            return [weight for weight in weights if weight.requires_grad]
    raise ModelError("a trainable convolutional or linear layer", "none", "use another method")
