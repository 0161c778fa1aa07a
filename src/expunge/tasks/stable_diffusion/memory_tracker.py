"""What one forward and backward pass holds in memory, found out without any: on tensors that have sizes alone."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class MemoryTracker(TorchDispatchMode):
    """Counts the bytes of all storages that come into being under it, and of those that are gone.

    Args:
        existing: Tensors that are there already and do not count.

    Attributes:
        current: Bytes that are held.
        peak: The most that were held at a time.
    """

    def __init__(self, existing: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.current = self.peak = 0
        self.existing = {tensor.untyped_storage()._cdata for tensor in existing}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Carry out an operation and take note of what it returns."""
        output = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor):
                self.track(leaf)
        return output

    def track(self, tensor: Tensor) -> None:
        """Count a tensor's storage if it is new, until it is gone."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.existing:
            return
        self.existing.add(key)
        self.current += size
        self.peak = max(self.peak, self.current)
        weakref.finalize(storage, self.release, key, size)

    def release(self, key: int, size: int) -> None:
        """Count a storage no more."""
        self.existing.discard(key)
        self.current -= size


def activation_peak(
    unet: nn.Module,
    latent_shape: tuple[int, int, int],
    prompt_shape: tuple[int, int],
    batch: int,
    precision: str = "fp32",
) -> int:
    """Return the most bytes that a forward and a backward pass hold beside the weights, gradients among them.

    The passes run on fake tensors of the CPU, whose attention keeps no matrix of all pairs of positions, as that of
    accelerators. Gradient checkpointing and frozen weights count as they are set.
    """
    with FakeTensorMode():
        model = fake_copy(unet).train()
        dtype = next(model.parameters()).dtype
        latents, times = torch.empty(batch, *latent_shape, dtype=dtype), torch.empty(batch, dtype=torch.int64)
        prompts = torch.empty(batch, *prompt_shape, dtype=dtype)
        tracker = MemoryTracker([*model.parameters(), *model.buffers()])
        half_dtype = torch.bfloat16 if precision == "bf16" else torch.float16
        with tracker:
            with nullcontext() if precision == "fp32" else torch.autocast("cpu", half_dtype):
                noise = model(latents, times, encoder_hidden_states=prompts).sample
            noise.float().square().mean().backward()
    return tracker.peak


def fake_copy(unet: nn.Module) -> nn.Module:
    """Return a copy of a module whose weights have sizes alone; to be called within a mode of fake tensors."""
    memo: dict[int, Any] = {}
    for weight in unet.parameters():
        fake = torch.empty_strided(weight.shape, weight.stride(), dtype=weight.dtype)
        memo[id(weight)] = nn.Parameter(fake, requires_grad=weight.requires_grad)
    for buffer in unet.buffers():
        memo[id(buffer)] = torch.empty_strided(buffer.shape, buffer.stride(), dtype=buffer.dtype)
    return copy.deepcopy(unet, memo)
