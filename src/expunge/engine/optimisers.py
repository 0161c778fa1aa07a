"""Optimisers and schedules of the learning rate, by the settings of a stage."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from expunge.engine.stages import Optimiser, OptimiserName
from expunge.errors import ConfigError, MissingExtraError


def build_optimizer(parameters: Sequence[Tensor], settings: Optimiser) -> Optimizer:
    """Return the optimiser that the settings describe, over the given weights."""
    if settings.name == "sgd":
        momentum, decay = settings.momentum, settings.weight_decay
        return torch.optim.SGD(parameters, lr=settings.rate, momentum=momentum, weight_decay=decay)
    adamw: Any = torch.optim.AdamW if settings.name == "adamw" else bitsandbytes().optim.AdamW8bit
    found: Optimizer = adamw(parameters, lr=settings.rate, weight_decay=settings.weight_decay)
    return found


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
