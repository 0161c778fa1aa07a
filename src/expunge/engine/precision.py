"""Precision: autocast and gradient scaling behind one small object."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.amp.autocast_mode import autocast
from torch.amp.grad_scaler import GradScaler

PrecisionName = Literal["fp32", "bf16", "fp16"]


@dataclass
class Precision:
    """How losses are computed and scaled.

    Args:
        name: ``fp32`` computes in the weights' own type; ``bf16`` and ``fp16`` under autocast.
        device: Where.
        scaler: Scales losses so that fp16 gradients do not vanish; None does not.
    """

    name: PrecisionName
    device: torch.device
    scaler: GradScaler | None = None

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which losses are computed."""
        if self.name == "fp32":
            return nullcontext()
        return autocast(self.device.type, torch.bfloat16 if self.name == "bf16" else torch.float16)

    @property
    def is_full(self) -> bool:
        """Whether nothing is rounded to half precision or scaled."""
        return self.name == "fp32" and self.scaler is None

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Return the loss to backpropagate."""
        return loss if self.scaler is None else self.scaler.scale(loss)

    def current_loss_scale(self) -> Tensor | None:
        """Return the present loss scale, on the device and not yet read; None without a scaler."""
        return None if self.scaler is None else self.scaler.scale(torch.ones((), device=self.device))


def make_precision(name: PrecisionName, device: torch.device, scaler: GradScaler | None = None) -> Precision:
    """Return the precision of a run; fp16 brings a scaler of its own where none is given."""
    if name == "fp16" and scaler is None:
        scaler = GradScaler(device.type)
    return Precision(name, device, scaler)
