"""Processes: what those that carry out one recipe together agree on outside of its updates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed as dist
from torch import nn

from expunge.errors import ConfigError, ExpungeError

T = TypeVar("T")
PROCESS_GROUP_TIMEOUT = timedelta(days=7)
"""The others wait while the first process trains the original; the launcher ends all when one fails."""


def check_process_group() -> None:
    """Refuse to share examples where there is nobody to share them with."""
    if not (dist.is_available() and dist.is_initialized()):
        hint = "start it with torchrun, or call torch.distributed.init_process_group first"
        raise ConfigError("processes to share the examples with", "one process", hint)


@torch.no_grad()
def broadcast_weights(model: nn.Module) -> None:
    """Give the model of every process the weights and statistics that the first one's has."""
    for value in model.state_dict().values():
        dist.broadcast(value, 0)


def broadcast_from_rank0(value: T, distributed: bool = True) -> T:
    """Return what the first process says, so that rounding on another machine decides nothing.

    Args:
        value: What this process says.
        distributed: Whether there are others.
    """
    if not distributed:
        return value
    values = [value]
    dist.broadcast_object_list(values, 0)
    return values[0]


class ControlGroup:
    """What ranks agree on between two updates, through their processors: no device is waited for.

    Attributes:
        rank: Which one this is, from 0.
        size: Number of processes.
    """

    def __init__(self) -> None:
        check_process_group()
        self.group = (
            None if dist.get_backend() == "gloo" else dist.new_group(backend="gloo", timeout=PROCESS_GROUP_TIMEOUT)
        )
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def all_reduce_max(self, number: int) -> int:
        """Return the largest number of all ranks: one collective."""
        largest = torch.tensor([number])
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=self.group)
        return int(largest)

    def all_gather(self, value: T) -> list[T]:
        """Return what every rank says, in their order; nobody goes on before all have said it."""
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self.group)
        return values

    @contextmanager
    def sync_errors(self) -> Iterator[None]:
        """Let every rank do the body, which none of them may wait for another in.

        Raises:
            ExpungeError: On all of them, if it fails on one.
        """
        own_error: ExpungeError | None = None
        try:
            yield
        except ExpungeError as error:
            own_error = error
        for any_error in (own_error, *self.all_gather(own_error)):
            if any_error is not None:
                raise any_error

    def destroy(self) -> None:
        """Let go of the group, if it is one of its own."""
        if self.group is not None:
            dist.destroy_process_group(self.group)
