"""Denoiser: what a model of the noise in a sample has to offer, whatever tells it what the sample shows."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from expunge.errors import ModelError


class Denoiser(nn.Module, ABC):
    """ε(x_t, t, c): the noise in a noised sample x_t, given the number c of what it shows, and the schedule of x_t.

    c is a class of a class-conditional model, or the number of a prompt of a text-to-image model; x is an image, or an
    image's latents. Objectives, sampling and unlearning know nothing more than this.

    Attributes:
        has_bounded_samples: Whether samples are images in [−1, 1]; latents are not.
        classes: How many c there are, beside the null one.
        scheduler: diffusers' scheduler, whose settings sampling starts from.
    """

    has_bounded_samples: ClassVar[bool] = True
    classes: int
    scheduler: Any

    @property
    @abstractmethod
    def null_class(self) -> int | None:
        """The c that says nothing, for guidance, or None where the network has not learnt one."""

    @property
    @abstractmethod
    def sample_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a sample."""

    @property
    def alphas_cumprod(self) -> Tensor:
        """ᾱ_t, the share of a sample's variance that is left at each timestep, ``(T,)``."""
        alphas_cumprod: Tensor = self.scheduler.alphas_cumprod
        return alphas_cumprod

    @abstractmethod
    def forward(self, sample: Tensor, timestep: Tensor, class_labels: Tensor) -> Tensor:
        """Return the noise that the network sees in the samples ``(n, channels, height, width)``."""

    @abstractmethod
    def save_pretrained(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the model in diffusers' layout, weights as safetensors; all of it or nothing."""


def as_denoiser(model: object) -> Denoiser:
    """Return the model if it is a network with its noise schedule."""
    if isinstance(model, Denoiser):
        return model
    hint = "pass a DDPM or a TextToImage; DDPM(unet, scheduler) makes one of a network"
    raise ModelError("a DDPM, a network with its noise schedule", type(model).__name__, hint)


def check_prediction_type(scheduler: Any) -> None:
    """Refuse a schedule whose model predicts something else than noise."""
    if scheduler.config.prediction_type != "epsilon":
        actual = f"'{scheduler.config.prediction_type}'"
        raise ModelError("a model that predicts noise ('epsilon')", actual, "other predictions are not supported")
