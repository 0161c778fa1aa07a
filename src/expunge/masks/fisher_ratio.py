"""FisherRatio: only the weights that matter more to the forgotten examples than to the others may forget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from expunge.batch import Batch, Examples, Predictor, Split, sample_indices
from expunge.errors import ConfigError
from expunge.masks.static_mask import StaticMask
from expunge.surgery import Direction, Step


class FisherRatio(StaticMask):
    """Keep the weights whose Fisher information on D_f is at least γ times that on D_r.

    Paper: "Unified Gradient-Based Machine Unlearning with Remain Geometry Enhancement" (SFR-on; Huang et al., NeurIPS
    2024, arXiv 2409.19732).

    Formula: m_i = 1 where (F_f,i + 1e-15)/(F_r,i + 1e-15) ≥ γ, else 0, with F the diagonal of the Fisher information
    at the original's weights, see ``fisher_diagonal``. An update without forget examples is not masked: the retain
    steps of SFR-on move all weights.

    Args:
        threshold: γ ≥ 0. Default 1 (authors).
        group: Examples whose gradients are summed before squaring. Default 128 (authors); 1 is the exact diagonal.

    Raises:
        ConfigError: If the threshold is negative or the group smaller than 1.

    Examples:
        >>> FisherRatio(threshold=3.0)
        FisherRatio(threshold=3.0, group=128)

    Differences from the authors' code: the mask is laid on the forget gradient, as theirs, and on the update too, so
    that the momentum of retain steps cannot move masked weights in a forget step; F is not biased by the size of the
    last group.
    """

    aliases: ClassVar[tuple[str, ...]] = ("sfr_on",)
    paper: ClassVar[str] = "SFR-on, arXiv 2409.19732"

    def __init__(self, threshold: float = 1.0, group: int = 128) -> None:
        super().__init__()
        if not threshold >= 0 or group < 1:
            raise ConfigError("a threshold ≥ 0 and groups of 1 or more", f"{threshold} and {group}", "change them")
        self.threshold, self.group = threshold, group

    def prepare(self, original: Predictor, data: Split) -> None:
        """Compute both diagonals and compare them."""
        forget, retain = (fisher_diagonal(original, side, self.group) for side in (data.forget, data.retain))
        ratios = ((f + 1e-15) / (r + 1e-15) for f, r in zip(forget, retain, strict=True))
        self.set_mask(ratio >= self.threshold for ratio in ratios)

    def on_gradients(self, weights: Sequence[Tensor], step: Step) -> None:
        """Mask the gradient of a forget update: else momentum would hand the rest of it to the retain updates."""
        free = step.sizes.forget == 0
        for weight, piece in zip(weights, self.get_mask_like(weights), strict=True):
            if weight.grad is not None:
                weight.grad = torch.where(piece | free.to(piece.device), weight.grad, 0.0)

    def compute(self, displacement: Direction, step: Step) -> Direction:
        """Return the mask where the update has forget examples, else all."""
        free = step.sizes.forget == 0
        return Direction(piece | free.to(piece.device) for piece in super().compute(displacement, step))

    def __repr__(self) -> str:
        """Return the call that rebuilds the mask."""
        return f"FisherRatio(threshold={self.threshold}, group={self.group})"


def fisher_diagonal(original: Predictor, examples: Examples, group: int = 1) -> Direction:
    """Return the diagonal of the empirical Fisher information, one piece for each trainable weight.

    Formula: F = (1/n) Σ_groups (Σ_{i in group} ∇ℓ_i)², ℓ_i the loss of the model's training (−log p_y(x_i) for a
    classifier), squared coordinate by coordinate. Groups of one give the empirical Fisher information exactly. Larger
    ones are cheaper and estimate the same where the mean gradient is near 0; what remains of it is counted up to
    group-size times.
    """
    # Groups of a data set that is stored class by class would be of one class, and their sums coherent.
    order = sample_indices(len(examples), len(examples))
    groups = ([(examples, part)] for part in order.split(group))
    return fisher_from_groups(original, groups, len(examples))


def fisher_from_groups(
    original: Predictor, groups: Iterable[Sequence[tuple[Examples, Tensor]]], count: int
) -> Direction:
    """Return (1/n) Σ_groups (Σ_{i in group} ∇ℓ_i)², a group being examples of one or several data sets."""
    parameters = [parameter for parameter in original.model.parameters() if parameter.requires_grad]
    total = Direction(torch.zeros_like(parameter) for parameter in parameters)
    for group in groups:
        slopes = Direction(torch.zeros_like(parameter) for parameter in parameters)
        for examples, positions in group:
            if len(positions):
                slopes.add_(sum_gradients(original, examples.batch(positions), parameters))
        for sum_, slope in zip(total, slopes, strict=True):
            sum_.addcmul_(slope, slope, value=1 / count)
    return total


def sum_gradients(original: Predictor, batch: Batch, parameters: Sequence[nn.Parameter]) -> Direction:
    """Return the gradient of the summed loss over a batch; 0 where a weight has no part in it."""
    parts = -(-len(batch) // (original.max_batch_size or len(batch)))
    first, *others = batch.to(parameters[0].device).chunks(parts)
    total = micro_batch_gradients(original, first, parameters)
    for other in others:
        total.add_(micro_batch_gradients(original, other, parameters))
    return total


def micro_batch_gradients(original: Predictor, batch: Batch, parameters: Sequence[nn.Parameter]) -> Direction:
    """Return the gradient of the summed loss over what is processed at once."""
    with torch.enable_grad():
        slopes = torch.autograd.grad(original.sum_loss(batch), parameters, allow_unused=True)
    pairs = zip(slopes, parameters, strict=True)
    return Direction(torch.zeros_like(weight) if slope is None else slope for slope, weight in pairs)
