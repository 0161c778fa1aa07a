"""A model's state as it was found, put back where something fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from expunge.errors import NotFiniteError
from expunge.metrics.inference import restore_buffer


@contextmanager
def rollback_on_failure(model: nn.Module, *, active: bool = True) -> Iterator[None]:
    """Put weights, gradients, buffers and modes of a model back, to the bit, if the body fails."""
    if not active:
        try:
            yield
        except NotFiniteError as error:
            error.model = model.eval()
            raise
        return
    snapshot = ModelSnapshot(model)
    try:
        yield
    except BaseException:
        snapshot.restore()
        raise


class ModelSnapshot:
    """Copies of all that training may change in a model.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self.weights = [(weight, weight.detach().clone(), clone_grad(weight.grad)) for weight in model.parameters()]
        # Nothing can exchange the children of a scripted module.
        plain = [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
        self.children = [(module, dict(module._modules)) for module in plain]
        self.modes = [(module, module.training) for module in model.modules()]
        self.buffers = [
            (module, name, buffer, buffer.detach().clone())
            for module in model.modules()
            for name, buffer in module.named_buffers(recurse=False)
        ]

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back into the very tensors that were there, and modules that were exchanged."""
        for module, children in self.children:
            module._modules.update(children)
        for weight, value, gradient in self.weights:
            weight.copy_(value)
            weight.grad = None
            if gradient is not None:
                weight.grad, saved_gradient = gradient
                weight.grad.copy_(saved_gradient)
        for module, training in self.modes:
            module.training = training
        for module, name, buffer, value in self.buffers:
            restore_buffer(module, name, buffer, value)


def clone_grad(gradient: Tensor | None) -> tuple[Tensor, Tensor] | None:
    """Return a gradient with a copy of its values, if there is one."""
    return None if gradient is None else (gradient, gradient.clone())
