"""Saliency: only the weights that the forgotten examples pull at most may move."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Examples, Predictor, Split
from expunge.errors import ConfigError
from expunge.masks.static_mask import StaticMask
from expunge.surgery import Direction


class Saliency(StaticMask):
    """Let only the weights with the largest |∇L_f(θ₀)| move.

    Paper: "SalUn: Empowering Machine Unlearning via Gradient-Based Weight Saliency" (Fan et al., ICLR 2024).

    Formula: m_i = 1 if |∂L_f(θ₀)/∂θ_i| is among the largest share p of all weights, else 0, with L_f = −CE averaged
    over D_f (for a model of another family minus the loss of its training) and θ₀ the original's weights, in evaluation
    mode.

    Args:
        fraction: p in (0, 1]. Default .5 (authors).
        batch_size: Examples in one backward pass of ``prepare``. Default 256.

    Raises:
        ConfigError: If the share is not in (0, 1].

    Examples:
        >>> Saliency(fraction=0.3)
        Saliency(fraction=0.3)

    Differences from the authors' code (until 2026-02): the mask is laid on the update, so that weight decay and
    momentum cannot move what it keeps still; exactly round(p·P) weights pass, ties broken by position.
    """

    aliases: ClassVar[tuple[str, ...]] = ("salun",)
    paper: ClassVar[str] = "SalUn, ICLR 2024"

    def __init__(self, fraction: float = 0.5, batch_size: int = 256) -> None:
        super().__init__()
        if not 0 < fraction <= 1:
            raise ConfigError("a share of weights in (0, 1]", f"fraction={fraction}", "use .5, the authors' value")
        self.fraction, self.batch_size = fraction, batch_size

    def prepare(self, original: Predictor, data: Split) -> None:
        """Compute the gradient over all of D_f and keep its largest coordinates."""
        self.set_mask(largest_mask(full_gradient(original, data.forget, self.batch_size), self.fraction))

    def __repr__(self) -> str:
        """Return the call that rebuilds the mask."""
        batch = "" if self.batch_size == 256 else f", batch_size={self.batch_size}"
        return f"Saliency(fraction={self.fraction}{batch})"


def full_gradient(
    original: Predictor, examples: Examples, batch_size: int, positions: Tensor | None = None
) -> Direction:
    """Return the gradient of the mean loss over all examples, or over those at the positions.

    The loss is that of the model's training: cross entropy of a classifier, noise matching of a diffusion model. The
    model's own gradients are left as found.
    """
    positions = torch.arange(len(examples)) if positions is None else positions
    parameters = [parameter for parameter in original.model.parameters() if parameter.requires_grad]
    device, saved_grads = parameters[0].device, [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    for part in positions.split(min(batch_size, original.max_batch_size or batch_size)):
        batch = examples.batch(part).to(device)
        with torch.enable_grad():
            (original.sum_loss(batch) / len(positions)).backward()
    gradient = Direction(torch.zeros_like(p) if p.grad is None else p.grad for p in parameters)
    for parameter, before in zip(parameters, saved_grads, strict=True):
        parameter.grad = before
    return gradient


def largest_mask(gradient: Direction, fraction: float) -> list[Tensor]:
    """Return for each piece where its magnitude is among the largest share of all coordinates.

    Examples:
        >>> gradient = Direction([torch.tensor([0.1, -3.0]), torch.tensor([2.0])])
        >>> [piece.tolist() for piece in largest_mask(gradient, 2 / 3)]
        [[False, True], [True]]
    """
    magnitudes = torch.cat([piece.detach().abs().flatten() for piece in gradient])
    chosen = torch.zeros_like(magnitudes, dtype=torch.bool)
    count = max(1, round(fraction * len(magnitudes)))
    chosen[torch.sort(magnitudes, descending=True, stable=True).indices[:count]] = True
    parts = chosen.split([piece.numel() for piece in gradient])
    return [part.view(piece.shape) for part, piece in zip(parts, gradient, strict=True)]
