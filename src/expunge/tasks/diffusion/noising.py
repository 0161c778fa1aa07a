"""Noising: images, timesteps and noise that are drawn into a batch, so that the same batch is the same loss."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from expunge.batch import Batch, Predictor
from expunge.engine import mixed_seed
from expunge.errors import ModelError
from expunge.tasks.diffusion.denoiser import as_denoiser


@dataclass(frozen=True)
class Noising:
    """The forward process of a diffusion model.

    Formula: x_t = √ᾱ_t x + √(1 − ᾱ_t) ε, ε normal.

    Args:
        signal: ᾱ_t, ``(T,)``.
        null: The class that says nothing, or None.

    Examples:
        >>> noising = Noising(torch.tensor([0.9, 0.5, 0.1]), null=10)
        >>> noising.timesteps(4, torch.Generator().manual_seed(0)).view(2, 2).sum(0)
        tensor([2, 2])
    """

    signal: Tensor
    null: int | None

    def timesteps(self, count: int, generator: torch.Generator) -> Tensor:
        """Return antithetic timesteps (n,): uniform ones, then T − 1 − t for each of them.

        Each one alone is uniform; a pair has one from the early and one from the late half of the schedule, so that
        the loss of a batch varies less.
        """
        total = len(self.signal)
        first = torch.randint(0, total, ((count + 1) // 2,), generator=generator)
        return torch.cat([first, total - 1 - first])[:count]

    def noised(
        self,
        batch: Batch,
        generator: torch.Generator,
        *,
        images: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Batch:
        """Return the batch with what a denoising network takes as its inputs, and ``noise``, what was mixed in.

        Args:
            batch: Images ``(n, channels, height, width)`` and their classes.
            generator: Of timesteps and noise, on the CPU: the same on every device.
            images: In place of the batch's. Default: its inputs.
            labels: Classes that the network is told, ``(n,)``. Default: the batch's targets.
        """
        clean = batch.inputs if images is None else images
        device = clean.device
        times = batch.own(lambda count: self.timesteps(count, generator)).to(device)
        form, kind = clean.shape[1:], clean.dtype
        noise = batch.own(lambda count: torch.randn(count, *form, generator=generator, dtype=kind)).to(device)
        signal = self.signal.to(device, clean.dtype)[times].view(-1, 1, 1, 1)
        sample = signal**0.5 * clean + (1 - signal) ** 0.5 * noise
        told = batch.targets if labels is None else labels
        return replace(batch, inputs={"sample": sample, "timestep": times, "class_labels": told}).with_drawn(
            noise=noise
        )

    def nulls(self, labels: Tensor) -> Tensor:
        """Return the null class for each label.

        Raises:
            ModelError: If the model has none.
        """
        if self.null is None:
            cure = "train it with a share of labels dropped, or use another objective"
            raise ModelError("a model with a null class", "one that knows classes alone", cure)
        return torch.full_like(labels, self.null)

    def dropped(self, batch: Batch, share: float, generator: torch.Generator) -> Tensor:
        """Return a batch's labels, a share of them, drawn one by one, replaced by the null class, if there is one."""
        labels = batch.targets
        lost = (batch.own(lambda count: torch.rand(count, generator=generator)) < share).to(labels.device)
        return labels if self.null is None else torch.where(lost, self.nulls(labels), labels)


def noising_of(model: nn.Module) -> Noising:
    """Return the forward process of a model.

    Raises:
        ModelError: If it is none that has one.
    """
    return Noising(as_denoiser(model).signal, as_denoiser(model).null)


def noise_losses(predict: Predictor, batch: Batch) -> Tensor:
    """Return the loss of each example that the model was trained on, ``(n,)``: noise matching with the true classes.

    Formula: ‖ε_i − ε(x_{i,t}, t_i, c_i)‖² / d, d the numbers of an image. Timesteps and noise depend on the indices of
    the examples in the batch alone, so that two models meet the same.
    """
    seed = mixed_seed(len(batch), int(batch.indices.sum()), int(batch.indices[0]))
    noisy = noising_of(predict.model).noised(batch, torch.Generator().manual_seed(seed))
    return (predict(noisy.inputs) - noisy.drawn["noise"]).square().flatten(1).mean(1)
