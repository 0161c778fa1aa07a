"""Ranks: processes that share the examples of every update, and what they have to tell one another."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from expunge.batch import Batch, ShardInfo


class DataParallelContext:
    """One process that has all examples: nothing is reduced.

    Attributes:
        size: Number of processes.
        rank: Which one this is, from 0.
    """

    size: int = 1
    rank: int = 0

    def all_reduce(self, value: Tensor) -> Tensor:
        """Return the sum of a value over the ranks."""
        return value

    def backward(self, loss: Tensor, weights: list[Tensor]) -> None:
        """Add the gradient of the loss, summed over the ranks, to those of the weights, and to no others."""
        loss.backward(inputs=weights)

    def sync_context(self, now: bool) -> AbstractContextManager[Any]:
        """Return the context of a forward and a backward pass whose gradients are reduced now, or with later ones."""
        return nullcontext()

    def take_grad(self, gradient: Tensor) -> Tensor:
        """Return a weight's gradient as memory of its own."""
        return gradient

    def assign_shards(self, batches: Sequence[Batch | None]) -> list[Batch | None]:
        """Return the batches with their places; None where no rank has examples."""
        return list(batches)

    def shard(self, positions: Tensor) -> tuple[Tensor, ShardInfo | None]:
        """Return this rank's part of the positions of a batch, and its place."""
        return positions, None


class DistributedContext(DataParallelContext):
    """Processes of which each has a part of the examples.

    A loss is the mean over the examples of all ranks: each rank adds its own examples' share, so that ranks with
    different numbers of them are weighed by these. Gradients are reduced before anything is computed from them: the
    mean of local Gram matrices is not the Gram matrix of the mean.

    Args:
        group: Of torch.distributed.
        device: Where the weights are.
    """

    def __init__(self, group: Any, device: torch.device) -> None:
        self.group, self.device = group, device
        self.size, self.rank = dist.get_world_size(group), dist.get_rank(group)

    def all_reduce(self, value: Tensor) -> Tensor:
        """Return the sum of a value over the ranks: one collective, of one number."""
        value = value.detach().clone()
        dist.all_reduce(value, group=self.group)
        return value

    def backward(self, loss: Tensor, weights: list[Tensor]) -> None:
        """Backpropagate the loss; the wrapper takes the mean over ranks where the sum is meant."""
        (loss * self.size).backward()

    def shard(self, positions: Tensor) -> tuple[Tensor, ShardInfo | None]:
        """Return consecutive positions, numbers differing by one at most; the first one stands in where there is none.

        Examples are in the order of one process, and every rank knows of all, so that nothing has to be asked for.
        """
        bounds = [len(positions) * rank // self.size for rank in range(self.size + 1)]
        start, end = bounds[self.rank : self.rank + 2]
        max_per_rank = max(after - before for before, after in pairwise(bounds))
        if start == end:
            return positions[:1], ShardInfo(0, len(positions), max_per_rank, contributes=False)
        return positions[start:end], ShardInfo(start, len(positions), max_per_rank)

    def assign_shards(self, batches: Sequence[Batch | None]) -> list[Batch | None]:
        """Return the batches with their places; None where no rank has examples.

        Where they have none yet, the ranks ask one another how many examples they have: one collective, of one number a
        batch, and a wait for it. A rank that has none where others do is lent one example, by another collective.
        """
        if any(batch is not None and batch.shard is not None for batch in batches):
            return list(batches)
        local_counts = [0 if batch is None else len(batch) for batch in batches]
        all_counts = [torch.zeros(len(local_counts), dtype=torch.int64, device=self.device) for _ in range(self.size)]
        dist.all_gather(all_counts, torch.tensor(local_counts, device=self.device), group=self.group)
        counts = torch.stack(all_counts).T.tolist()
        return [self._assign_shard(batch, numbers) for batch, numbers in zip(batches, counts, strict=True)]

    def _assign_shard(self, batch: Batch | None, counts: list[int]) -> Batch | None:
        if not any(counts):
            return None
        first, shard = sum(counts[: self.rank]), ShardInfo(0, sum(counts), max(counts), contributes=False)
        stand_in = (
            self._broadcast_example(batch, next(rank for rank, count in enumerate(counts) if count))
            if 0 in counts
            else None
        )
        if counts[self.rank] and batch is not None:
            return replace(batch, shard=replace(shard, offset=first, contributes=True))
        return None if stand_in is None else replace(stand_in.to(self.device), shard=shard)

    def _broadcast_example(self, batch: Batch | None, source: int) -> Batch | None:
        """Return the first example of a rank that has one."""
        message = [batch.slice(0, 1).to(torch.device("cpu")) if batch is not None and self.rank == source else None]
        dist.broadcast_object_list(message, src=dist.get_global_rank(self.group, source), group=self.group)
        return message[0]


class DDPContext(DistributedContext):
    """Ranks under DistributedDataParallel: each has all weights.

    Args:
        model: The wrapped model.
        device: Where the weights are.
    """

    def __init__(self, model: nn.parallel.DistributedDataParallel, device: torch.device) -> None:
        super().__init__(model.process_group, device)
        self.model = model

    def sync_context(self, now: bool) -> AbstractContextManager[Any]:
        """Return the context in which gradients are reduced at the end of the backward pass, or kept local."""
        return nullcontext() if now else self.model.no_sync()

    def take_grad(self, gradient: Tensor) -> Tensor:
        """Return a gradient that the next backward pass does not write over."""
        return gradient.clone() if self.model.gradient_as_bucket_view else gradient


class FSDPContext(DistributedContext):
    """Ranks under ``fully_shard`` (FSDP2): each has a part of every weight, of its gradient and of what masks keep.

    Gradients are reduced at the end of every backward pass: kept local until the last one they would be whole, and
    their memory is what sharding is there to save.
    """
