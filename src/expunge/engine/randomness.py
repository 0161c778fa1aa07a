"""Replayed randomness: the same batch meets the same dropout whenever it is asked for."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def seeded_rng(seed: int, device: torch.device) -> Iterator[None]:
    """Run the body from ``seed`` on the CPU's and the device's generator, and put both back afterwards.

    Examples:
        >>> with seeded_rng(7, torch.device("cpu")):
        ...     first = torch.rand(())
        >>> with seeded_rng(7, torch.device("cpu")):
        ...     bool(torch.rand(()) == first)
        True
    """
    generators = default_generators(device)
    before = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)


def default_generators(device: torch.device) -> list[torch.Generator]:
    """Return the CPU's default generator and the device's; those of other devices are none of a run's business."""
    if device.type == "cpu":
        return [torch.default_generator]
    module = torch.get_device_module(device)
    if device.type == "mps":
        return [torch.default_generator, module._get_default_mps_generator()]
    index = module.current_device() if device.index is None else device.index
    return [torch.default_generator, module.default_generators[index]]


def combine_seeds(*parts: int) -> int:
    """Return one 63-bit seed from several numbers; neighboring numbers give unrelated seeds (SplitMix64)."""
    state = 0
    for part in parts:
        state = (state + part + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1


def get_rng_states(device: torch.device | None = None) -> dict[str, Any]:
    """Return the states of all global generators, Python's and numpy's too, as plain values and tensors."""
    generators = default_generators(device or torch.device("cpu"))
    kind, key, *rest = np.random.get_state(legacy=True)
    states = [generator.get_state() for generator in generators]
    # Older safetensors have no unsigned numbers of 32 bits.
    return {"python": random.getstate(), "numpy": (kind, np.asarray(key, dtype=np.int64), *rest), "torch": states}


def set_rng_states(states: dict[str, Any], device: torch.device | None = None) -> None:
    """Put all global generators where they were."""
    random.setstate(states["python"])
    kind, key, *rest = states["numpy"]
    np.random.set_state((kind, np.asarray(key, dtype=np.uint32), *rest))
    for generator, state in zip(default_generators(device or torch.device("cpu")), states["torch"], strict=False):
        generator.set_state(state)
