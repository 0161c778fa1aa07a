"""Compiled: a model's forward and backward pass through ``torch.compile`` while a stage descends."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from expunge.errors import ConfigError, ModelError

COMPILE_BACKEND: str | Callable[..., Any] = "inductor"
"""Of ``torch.compile``."""
COMPILERS = ("g++", "c++", "clang++", "cl")
COMPILE_HINT = "leave compile out"


@contextmanager
def compiled(model: nn.Module, active: bool) -> Iterator[None]:
    """Compile the model's own call inside the context; names, weights and copies of the model are those without.

    Args:
        model: The model; the first passes in each of its modes take the time of compiling.
        active: Whether to.

    Raises:
        ModelError: If it cannot be compiled.
    """
    if not active:
        yield
        return
    # Imported where it is needed: it takes a second.
    from torch._dynamo.exc import TorchDynamoException

    def call(*args: Any, **options: Any) -> Any:
        """Call the model from a frame of our own: torch compiles none of its containers' frames."""
        return model._call_impl(*args, **options)

    before, model._compiled_call_impl = model._compiled_call_impl, torch.compile(call, backend=COMPILE_BACKEND)
    try:
        yield
    except TorchDynamoException as error:
        actual = " ".join(line.strip() for line in str(error).splitlines()[:2]).strip()[:200].rstrip(".")
        raise ModelError("a model that torch.compile takes", actual or "an error", COMPILE_HINT) from error
    finally:
        model._compiled_call_impl = before


def is_compiled(model: nn.Module) -> bool:
    """Return whether a model's own call is compiled."""
    return model._compiled_call_impl is not None


def check_compiler(device: torch.device) -> None:
    """Refuse to compile where what ``torch.compile`` needs is missing."""
    if device.type != "cpu":
        if find_spec("triton") is None:
            raise ConfigError("Triton for torch.compile", f"none beside torch for '{device.type}'", COMPILE_HINT)
        return
    if not any(map(shutil.which, (os.environ.get("CXX") or COMPILERS[0], *COMPILERS))):
        hint = f"install one, name it in CXX, or {COMPILE_HINT}"
        raise ConfigError("a C++ compiler for torch.compile", "none on the path", hint)
