"""Normalization layers: whose statistics an update uses, and that nothing but an update changes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from expunge.errors import ConfigError

BatchNormMode = Literal["frozen", "joint", "separate"]
BATCH_NORM_MODES: tuple[BatchNormMode, ...] = get_args(BatchNormMode)


def validate_batch_norm_mode(name: str) -> BatchNormMode:
    """Return ``name`` if it is a policy.

    Raises:
        ConfigError: If it is not.
    """
    for mode in BATCH_NORM_MODES:
        if name == mode:
            return mode
    raise ConfigError(f"a normalization policy ({', '.join(BATCH_NORM_MODES)})", f"'{name}'", "choose one of them")


def set_training_modes(model: nn.Module, batch_norm: BatchNormMode) -> None:
    """Put the model into training mode, with batch-norm layers in evaluation mode under ``frozen``.

    Layers that keep no running statistics always use the batch's, whatever the policy.
    """
    model.train()
    if batch_norm == "frozen":
        for module in batch_norm_layers(model):
            module.eval()


def batch_norm_layers(model: nn.Module) -> list[nn.Module]:
    """Return the layers that keep running statistics: batch normalization, and instance normalization that tracks."""
    return [module for module in model.modules() if isinstance(module, _NormBase) and module.track_running_stats]


@contextmanager
def preserve_buffers(model: nn.Module) -> Iterator[None]:
    """Put every buffer back after the body: looks at a model must not move its statistics.

    Only buffers of modules in training mode are copied; the others do not change by a forward pass.
    """
    live = [(m, *item) for m in model.modules() if m.training for item in m.named_buffers(recurse=False)]
    saved = [buffer.detach().clone() for *_, buffer in live]
    try:
        yield
    finally:
        with torch.no_grad():
            for (module, name, buffer), old in zip(live, saved, strict=True):
                buffer.copy_(old)
                # A forward pass may have put another tensor in its place.
                module._buffers[name] = buffer
