"""How a verb computes: on how many processor threads, by which kernels, and what of it could differ elsewhere."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from expunge.code_hashes import code_version
from expunge.data import device_cache_limit
from expunge.request.request_file import RequestFile

CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def thread_count(count: int | None) -> Iterator[None]:
    """Compute with so many threads in the body, and with as many as before after it; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def deterministic_kernels(deterministic: bool) -> Iterator[None]:
    """Compute in the body with kernels alone that give the same bits each time, and refuse others; or as before."""
    if not deterministic:
        yield
        return
    before, tuned = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    # cuBLAS reads it when it is first used; sums of matrix products would depend on the number of streams without it.
    os.environ.setdefault(CUBLAS_WORKSPACE, ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = tuned


@contextmanager
def compute_context(config: RequestFile) -> Iterator[None]:
    """Compute in the body as a request says: threads, kernels, and how many examples live on an accelerator."""
    with (
        thread_count(config.threads),
        deterministic_kernels(config.deterministic),
        device_cache_limit(config.device_cache_gib),
    ):
        yield


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Return what the bits of a run depend on beside its request: versions, device, threads and kernels."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        **code_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "device": f"{device.type}: {name}",
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul": torch.get_float32_matmul_precision(),
    }
