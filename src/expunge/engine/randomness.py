"""Replayed randomness: the same batch meets the same dropout whenever it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def replayed(seed: int, device: torch.device) -> Iterator[None]:
    """Run the body from ``seed`` on the CPU's and the device's generator, and put both back afterwards.

    Examples:
        >>> with replayed(7, torch.device("cpu")):
        ...     first = torch.rand(())
        >>> with replayed(7, torch.device("cpu")):
        ...     bool(torch.rand(()) == first)
        True
    """
    devices = [device] if device.type != "cpu" else []
    with torch.random.fork_rng(devices=devices, device_type=device.type if devices else "cuda"):
        # torch.manual_seed would seed every device there is, which fork_rng does not put back, and formats the stack
        # for each kind of device that is not in use: a fifth of an update of a small network.
        torch.default_generator.manual_seed(seed)
        for used in devices:
            state = torch.Generator(used).manual_seed(seed).get_state()
            torch.get_device_module(used).set_rng_state(state, used)
        yield


def mixed_seed(*parts: int) -> int:
    """Return one 63-bit seed from several numbers; neighbouring numbers give unrelated seeds (SplitMix64)."""
    state = 0
    for part in parts:
        state = (state + part + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1
