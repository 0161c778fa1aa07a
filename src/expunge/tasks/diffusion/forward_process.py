"""Noising: images, timesteps and noise that are drawn into a batch, so that the same batch is the same loss."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from expunge.batch import Batch, Predictor
from expunge.engine import combine_seeds
from expunge.errors import ModelError
from expunge.tasks.diffusion.denoiser import as_denoiser


@dataclass(frozen=True)
class ForwardProcess:
    """The forward process of a diffusion model.

    Formula: x_t = √ᾱ_t x + √(1 − ᾱ_t) ε, ε normal.

    Args:
        alphas_cumprod: ᾱ_t, ``(T,)``.
        null_class: The class that says nothing, or None.

    Examples:
        >>> noising = ForwardProcess(torch.tensor([0.9, 0.5, 0.1]), null_class=10)
        >>> noising.draw_timesteps(4, torch.Generator().manual_seed(0)).view(2, 2).sum(0)
        tensor([2, 2])
    """

    alphas_cumprod: Tensor
    null_class: int | None

    def draw_timesteps(self, count: int, generator: torch.Generator) -> Tensor:
        """Return antithetic timesteps (n,): uniform ones, then T − 1 − t for each of them.

        Each one alone is uniform; a pair has one from the early and one from the late half of the schedule, so that
        the loss of a batch varies less.
        """
        total = len(self.alphas_cumprod)
        first = torch.randint(0, total, ((count + 1) // 2,), generator=generator)
        return torch.cat([first, total - 1 - first])[:count]

    def add_noise(
        self,
        batch: Batch,
        generator: torch.Generator,
        *,
        images: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Batch:
        """Return the batch with what a denoising network takes as its inputs, and ``noise``, what was mixed in."""
        clean = batch.inputs if images is None else images
        device = clean.device
        times = batch.draw_local(lambda count: self.draw_timesteps(count, generator)).to(device)
        shape, kind = clean.shape[1:], clean.dtype
        noise = batch.draw_local(lambda count: torch.randn(count, *shape, generator=generator, dtype=kind)).to(device)
        signal = self.alphas_cumprod.to(device, clean.dtype)[times].view(-1, 1, 1, 1)
        sample = signal**0.5 * clean + (1 - signal) ** 0.5 * noise
        class_labels = batch.targets if labels is None else labels
        return replace(batch, inputs={"sample": sample, "timestep": times, "class_labels": class_labels}).with_extras(
            noise=noise
        )

    def null_labels(self, labels: Tensor) -> Tensor:
        """Return the null class for each label."""
        if self.null_class is None:
            hint = "train it with a share of labels dropped, or use another objective"
            raise ModelError("a model with a null class", "one that knows classes alone", hint)
        return torch.full_like(labels, self.null_class)

    def drop_labels(self, batch: Batch, fraction: float, generator: torch.Generator) -> Tensor:
        """Return a batch's labels, a share of them, drawn one by one, replaced by the null class, if there is one."""
        labels = batch.targets
        is_dropped = (batch.draw_local(lambda count: torch.rand(count, generator=generator)) < fraction).to(
            labels.device
        )
        return labels if self.null_class is None else torch.where(is_dropped, self.null_labels(labels), labels)


def get_forward_process(model: nn.Module) -> ForwardProcess:
    """Return the forward process of a model."""
    return ForwardProcess(as_denoiser(model).alphas_cumprod, as_denoiser(model).null_class)


def noise_matching_losses(predict: Predictor, batch: Batch) -> Tensor:
    """Return the loss of each example that the model was trained on, ``(n,)``: noise matching with the true classes.

    Formula: ‖ε_i − ε(x_{i,t}, t_i, c_i)‖² / d, d the numbers of an image. Timesteps and noise depend on the indices of
    the examples in the batch alone, so that two models meet the same.
    """
    seed = combine_seeds(len(batch), int(batch.indices.sum()), int(batch.indices[0]))
    noisy = get_forward_process(predict.model).add_noise(batch, torch.Generator().manual_seed(seed))
    return (predict(noisy.inputs) - noisy.extras["noise"]).square().flatten(1).mean(1)
