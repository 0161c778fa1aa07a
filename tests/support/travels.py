"""Copies from one device to another, as a test sees them."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Travels(TorchDispatchMode):
    """Lists the copies between devices that wait."""

    def __init__(self):
        super().__init__()
        self.waited = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        found = function(*args, **kwargs)
        if function.overloadpacket is torch.ops.aten._to_copy and found.device != args[0].device:
            self.waited += [] if kwargs.get("non_blocking") else [(function, args[0].shape)]
        return found
