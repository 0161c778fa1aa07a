"""Wrapped: which processes share the examples of a model, by the wrapper that it is in."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import distributed as dist
from torch import nn

from expunge.engine.data_parallel import DataParallelContext, DDPContext, FSDPContext
from expunge.errors import ModelError
from expunge.surgery.direction import is_sharded

UNSUPPORTED_WRAPPERS = ("DeepSpeedEngine", "FullyShardedDataParallel")
"""Wrappers that keep gradients in flat buffers of their own and reduce them when they see fit."""


def make_parallel_context(model: nn.Module, device: torch.device) -> DataParallelContext:
    """Return the processes that share a model's examples: those of the wrapper that it is in.

    A model in no wrapper is this process's own, whatever other processes do.
    """
    inner = getattr(model, "_orig_mod", model)
    if type(inner).__name__ in UNSUPPORTED_WRAPPERS:
        hint = "use DistributedDataParallel or torch.distributed.fsdp.fully_shard"
        raise ModelError("a wrapper that leaves gradients with the weights", type(inner).__name__, hint)
    if not (dist.is_available() and dist.is_initialized()):
        return DataParallelContext()
    if isinstance(inner, nn.parallel.DistributedDataParallel):
        return DDPContext(inner, device)
    if hasattr(inner, "set_requires_gradient_sync"):
        return FSDPContext(fsdp_group([weight for weight in inner.parameters() if is_sharded(weight)]), device)
    return DataParallelContext()


def fsdp_group(weights: Sequence[Any]) -> Any:
    """Return the ranks that share the examples of a model under ``fully_shard``."""
    mesh, places = weights[0].device_mesh, {weight.placements for weight in weights}
    if mesh.ndim == 1 and len(places) == 1:
        return mesh.get_group()
    if all(place.is_replicate() for place in weights[0].placements[:-1]) and mesh.size() == dist.get_world_size():
        return dist.group.WORLD
    actual = f"weights placed as {', '.join(map(str, sorted(places, key=str)))}"
    raise ModelError("weights that are sharded by fully_shard alone", actual, "leave tensor parallelism out")


def wrap_ddp(model: nn.Module) -> nn.Module:
    """Return a model whose gradients are reduced over all processes.

    Its statistics are frozen, so that there is nothing to send of them at every pass.
    """
    names = inspect.signature(nn.parallel.DistributedDataParallel).parameters
    # The older name is deprecated where there is the newer one.
    name = "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
    options: dict[str, Any] = {name: False}
    return nn.parallel.DistributedDataParallel(model, **options)
