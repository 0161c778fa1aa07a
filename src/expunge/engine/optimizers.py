"""Optimizers and schedules of the learning rate, by the settings of a stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from expunge.engine.channels_last import align_strides
from expunge.engine.stages import OptimizerConfig, OptimizerName
from expunge.errors import ConfigError, MissingExtraError
from expunge.surgery.direction import is_sharded

FUSED_DEVICES = ("cuda",)
"""Devices on which a step is one kernel over all weights."""


def build_optimizer(parameters: Sequence[Tensor], settings: OptimizerConfig, *, has_scaler: bool = False) -> Optimizer:
    """Return the optimizer that the settings describe, over the given weights."""
    common = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    if settings.name == "adamw8bit":
        optimizer: Optimizer = import_bitsandbytes().optim.AdamW8bit(parameters, **common)
        return optimizer
    if settings.name == "adamw":
        return make_fused(torch.optim.AdamW, parameters, has_scaler=has_scaler, **common)
    return make_fused(torch.optim.SGD, parameters, has_scaler=has_scaler, momentum=settings.momentum, **common)


def make_fused(
    make: Callable[..., Optimizer], parameters: Sequence[Tensor], *, has_scaler: bool, **settings: Any
) -> Optimizer:
    """Return an optimizer of torch, its step fused into one kernel where the device can and the result is the same.

    Not under a gradient scaler: a fused SGD whose first step is skipped keeps a momentum that nobody has written.
    """
    if has_scaler or not all(map(has_fused_kernel, parameters)):
        return make(parameters, **settings)
    optimizer = make(parameters, fused=True, **settings)
    optimizer.register_step_pre_hook(align_strides)
    return optimizer


def has_fused_kernel(weight: Tensor) -> bool:
    """Return whether there is a fused step for a weight: of real numbers, whole, and on a device that has one."""
    return weight.device.type in FUSED_DEVICES and weight.is_floating_point() and not is_sharded(weight)


def build_schedule(optimizer: Optimizer, settings: OptimizerConfig, total: int) -> LRScheduler | None:
    """Return the schedule of the learning rate; None where it is constant."""
    return CosineAnnealingLR(optimizer, T_max=total) if settings.schedule == "cosine" else None


def check_optimizer_name(name: str) -> None:
    """Refuse an optimizer that is not known or not installed.

    Raises:
        ConfigError: If there is none of that name.
        MissingExtraError: If it needs a library that is not installed.
    """
    known_names = get_args(OptimizerName)
    if name not in known_names:
        raise ConfigError(f"an optimizer ({', '.join(known_names)})", f"'{name}'", "choose one of them")
    if name == "adamw8bit":
        import_bitsandbytes()


def import_bitsandbytes() -> Any:
    """Return the library of optimizers whose memory is of 8 bits."""
    try:
        return import_module("bitsandbytes")
    except ModuleNotFoundError as error:
        raise MissingExtraError("the optimizer adamw8bit", "bitsandbytes", "eight-bit") from error
