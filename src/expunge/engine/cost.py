"""What a piece of work costs: seconds that wait for the device, and the most memory it held."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import NamedTuple

import torch

PROC_STATUS, PROC_CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
"""Where Linux tells the memory of a process, and where its highest mark is set back to the present."""


class ResourceUsage(NamedTuple):
    """What was spent.

    Args:
        seconds: Wall clock, the device's queue included.
        peak_memory: Most bytes held beyond those held at the start; None where the system does not tell.
    """

    seconds: float
    peak_memory: int | None


class ResourceMeter:
    """Runs from where it is made until ``stop``.

    On an accelerator memory is what PyTorch allocated there. On the CPU it is the process's resident memory, in which
    memory that an earlier piece of work left with the process is used again without a trace: compare runs that had a
    process each.

    Args:
        device: Where the work is done.

    Examples:
        >>> meter = ResourceMeter("cpu")
        >>> kept = torch.ones(1000, 1000)
        >>> meter.stop().seconds > 0
        True
    """

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        synchronize(self.device)
        self.start_memory = reset_peak_memory(self.device)
        self.start_time = time.perf_counter()

    def stop(self) -> ResourceUsage:
        """Wait for the device and return what was spent since the start; may be called again."""
        synchronize(self.device)
        seconds, peak_memory = time.perf_counter() - self.start_time, read_peak_memory(self.device)
        peak = None if peak_memory is None or self.start_memory is None else max(0, peak_memory - self.start_memory)
        return ResourceUsage(seconds, peak)


def synchronize(device: torch.device) -> None:
    """Wait until an accelerator has done what it was told; work on the CPU is done when it returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def reset_peak_memory(device: torch.device) -> int | None:
    """Set the highest mark of memory back to the present and return that, in bytes; None where nobody tells."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    if device.type != "cpu":
        return None
    try:
        PROC_CLEAR_REFS.write_text("5")
    except OSError:
        return None
    return read_resident_memory("VmRSS")


def read_peak_memory(device: torch.device) -> int | None:
    """Return the highest mark of memory in bytes; None where nobody tells."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return read_resident_memory("VmHWM") if device.type == "cpu" else None


def read_resident_memory(name: str) -> int | None:
    """Return a figure of the process's resident memory in bytes; None where the system does not tell."""
    try:
        match = re.search(rf"^{name}:\s+(\d+) kB$", PROC_STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if match is None else 1024 * int(match[1])
