"""Peak memory of one update: every candidate in a process of its own.

On Linux the peak of the resident set is reset before each update (5 into /proc/self/clear_refs) and read after it
(VmHWM); pages of files, which are libraries being loaded, are taken off. The C library's allocator is told to give
blocks of 64 KiB and more back to the system at once and to keep one arena (MALLOC_MMAP_THRESHOLD_, MALLOC_ARENA_MAX):
otherwise the resident set shows what it hoards instead of what is in use. On CUDA the caching allocator's own peak of
memory in use is read. Elsewhere the peak is not measured.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from update_candidates import REFRESH, Repeated, build
from update_workload import Workload

ALLOCATOR = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
PRELOADED = ("expunge.engine", "expunge.registry", "expunge.tasks.classification.models", "torch._dynamo")
"""Imported once, before the processes fork from their server; the last is what torch's optimisers import when built."""
RESOLVED = 4_000_000
"""Parameters of fewer bytes are no unit on the CPU: Linux counts resident pages in batches, off by up to .5 MB."""
WARM_UP = 2
UPDATES = 3


def measurable(device: str) -> bool:
    """Return whether peak memory can be measured here."""
    kind = torch.device(device).type
    return kind == "cuda" or (kind == "cpu" and sys.platform == "linux" and os.access("/proc/self/clear_refs", os.W_OK))


def peaks(
    names: Iterable[str], network: str, batch: int, policy: str, device: str, threads: int, tick: Callable[[], None]
) -> dict[str, list[int]]:
    """Return each candidate's peaks in bytes above what its process held when model and batches were there."""
    os.environ.update(ALLOCATOR, OMP_NUM_THREADS=str(threads))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    found = {}
    for name in names:
        with ProcessPoolExecutor(1, mp_context=context) as process:
            found[name] = process.submit(own_peaks, name, network, batch, policy, device, threads).result()
        tick()
    return found


def own_peaks(name: str, network: str, batch: int, policy: str, device: str, threads: int) -> list[int]:
    """Return the peaks of some updates of one candidate in this process; a mask's refresh is among them."""
    torch.set_num_threads(threads)
    work = Workload(network, batch, policy, device)
    wake(work)
    before = in_use(device)
    update = build(name, work)
    for _ in range(WARM_UP):
        update()
    if isinstance(update, Repeated):
        update.number = REFRESH - 1
    found = []
    for _ in range(UPDATES):
        reset(device)
        update()
        found.append(peak(device) - before)
    return found


def wake(work: Workload) -> None:
    """Run the network and build an optimiser once, so that the libraries' own memory is there before the count."""
    work.optimiser()
    work.model.eval()(work.union[0]).sum().backward()
    work.model.zero_grad(set_to_none=True)


def in_use(device: str) -> int:
    """Return the bytes in use now."""
    if torch.device(device).type == "cuda":
        return torch.cuda.memory_allocated(device)
    return status("RssAnon")


def reset(device: str) -> None:
    """Let the peak begin anew."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5")


def peak(device: str) -> int:
    """Return the peak of the bytes in use since the reset."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return status("VmHWM") - status("RssFile") - status("RssShmem")


def status(field: str) -> int:
    """Return a field of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def leanest(found: dict[str, list[int]], ways: tuple[str, ...]) -> str:
    """Return the way to write plain fine-tuning with the lower median peak."""
    return min(ways, key=lambda way: statistics.median(found[way]))
