"""What a piece of work costs: seconds that wait for the device, and the most memory it held."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
"""Where Linux tells the memory of a process, and where its highest mark is set back to the present."""


class Cost(NamedTuple):
    """What was spent.

    Args:
        seconds: Wall clock, the device's queue included.
        peak: Most bytes held beyond those held at the start; None where the system does not tell.
    """

    seconds: float
    peak: int | None


class Meter:
    """Runs from where it is made until ``stop``.

    On an accelerator memory is what PyTorch allocated there. On the CPU it is the process's resident memory, in which
    memory that an earlier piece of work left with the process is used again without a trace: compare runs that had a
    process each.

    Args:
        device: Where the work is done.

    Examples:
        >>> meter = Meter("cpu")
        >>> kept = torch.ones(1000, 1000)
        >>> meter.stop().seconds > 0
        True
    """

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        synchronise(self.device)
        self.held = set_mark(self.device)
        self.began = time.perf_counter()

    def stop(self) -> Cost:
        """Wait for the device and return what was spent since the start; may be called again."""
        synchronise(self.device)
        seconds, highest = time.perf_counter() - self.began, mark(self.device)
        peak = None if highest is None or self.held is None else max(0, highest - self.held)
        return Cost(seconds, peak)


def place_of(model: Any) -> torch.device:
    """Return the device that a model or pipeline says it is on, else that of its first parameter; else the CPU."""
    told = getattr(model, "device", None)
    if isinstance(told, torch.device):
        return told
    weights = model.parameters() if isinstance(model, torch.nn.Module) else iter(())
    return next((weight.device for weight in weights), torch.device("cpu"))


def synchronise(device: torch.device) -> None:
    """Wait until an accelerator has done what it was told; work on the CPU is done when it returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def set_mark(device: torch.device) -> int | None:
    """Set the highest mark of memory back to the present and return that, in bytes; None where nobody tells."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    if device.type != "cpu":
        return None
    try:
        RESET.write_text("5")
    except OSError:
        return None
    return resident("VmRSS")


def mark(device: torch.device) -> int | None:
    """Return the highest mark of memory in bytes; None where nobody tells."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resident("VmHWM") if device.type == "cpu" else None


def resident(name: str) -> int | None:
    """Return a figure of the process's resident memory in bytes; None where the system does not tell."""
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else 1024 * int(found[1])
