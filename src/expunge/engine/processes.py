"""Processes: what those that carry out one recipe together agree on outside of its updates."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import distributed as dist
from torch import nn

from expunge.errors import ConfigError

T = TypeVar("T")


def refuse_alone() -> None:
    """Refuse to share examples where there is nobody to share them with.

    Raises:
        ConfigError: If torch.distributed has no process group.
    """
    if not (dist.is_available() and dist.is_initialized()):
        cure = "start it with torchrun, or call torch.distributed.init_process_group first"
        raise ConfigError("processes to share the examples with", "one process", cure)


@torch.no_grad()
def take_over(model: nn.Module) -> None:
    """Give the model of every process the weights and statistics that the first one's has."""
    for value in model.state_dict().values():
        dist.broadcast(value, 0)


def agreed(value: T, shared: bool = True) -> T:
    """Return what the first process says, so that rounding on another machine decides nothing.

    Args:
        value: What this process says.
        shared: Whether there are others.
    """
    if not shared:
        return value
    said = [value]
    dist.broadcast_object_list(said, 0)
    return said[0]
