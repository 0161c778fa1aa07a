"""Optimisers and schedules of the learning rate, by the settings of a stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from expunge.engine.layout import align
from expunge.engine.stages import Optimiser, OptimiserName
from expunge.errors import ConfigError, MissingExtraError
from expunge.surgery.direction import is_sharded

FUSED = ("cuda",)
"""Devices on which a step is one kernel over all weights."""


def build_optimizer(parameters: Sequence[Tensor], settings: Optimiser, *, scaled: bool = False) -> Optimizer:
    """Return the optimiser that the settings describe, over the given weights.

    Args:
        parameters: The weights.
        settings: Which, and how.
        scaled: Whether a gradient scaler will decide on its steps. Default false.
    """
    usual = {"lr": settings.rate, "weight_decay": settings.weight_decay}
    if settings.name == "adamw8bit":
        found: Optimizer = bitsandbytes().optim.AdamW8bit(parameters, **usual)
        return found
    if settings.name == "adamw":
        return fused(torch.optim.AdamW, parameters, scaled=scaled, **usual)
    return fused(torch.optim.SGD, parameters, scaled=scaled, momentum=settings.momentum, **usual)


def fused(make: Callable[..., Optimizer], parameters: Sequence[Tensor], *, scaled: bool, **settings: Any) -> Optimizer:
    """Return an optimiser of torch, its step fused into one kernel where the device can and the result is the same.

    Not under a gradient scaler: a fused SGD whose first step is skipped keeps a momentum that nobody has written.

    Args:
        make: ``torch.optim.SGD`` or ``torch.optim.AdamW``.
        parameters: The weights.
        scaled: Whether there is a gradient scaler.
        **settings: Of the optimiser.
    """
    if scaled or not all(map(has_kernel, parameters)):
        return make(parameters, **settings)
    found = make(parameters, fused=True, **settings)
    found.register_step_pre_hook(align)
    return found


def has_kernel(weight: Tensor) -> bool:
    """Return whether there is a fused step for a weight: of real numbers, whole, and on a device that has one."""
    return weight.device.type in FUSED and weight.is_floating_point() and not is_sharded(weight)


def build_schedule(optimizer: Optimizer, settings: Optimiser, total: int) -> LRScheduler | None:
    """Return the schedule of the learning rate; None where it is constant."""
    return CosineAnnealingLR(optimizer, T_max=total) if settings.schedule == "cosine" else None


def check_optimiser(name: str) -> None:
    """Refuse an optimiser that is not known or not installed.

    Raises:
        ConfigError: If there is none of that name.
        MissingExtraError: If it needs a library that is not installed.
    """
    known = get_args(OptimiserName)
    if name not in known:
        raise ConfigError(f"an optimiser ({', '.join(known)})", f"'{name}'", "choose one of them")
    if name == "adamw8bit":
        bitsandbytes()


def bitsandbytes() -> Any:
    """Return the library of optimisers whose memory is of 8 bits.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return import_module("bitsandbytes")
    except ModuleNotFoundError as error:
        raise MissingExtraError("the optimiser adamw8bit", "bitsandbytes", "eight-bit") from error
