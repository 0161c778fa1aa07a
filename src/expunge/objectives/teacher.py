"""Teachers: frozen copies of the original that an objective asks for predictions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from expunge.batch import Batch, Predictor, device_of
from expunge.errors import ModelError, ObjectiveError
from expunge.forward import copy_model

# Seeds near 0 are what models are built from: the teacher must not be the original before its training.
SEED_OFFSET = 0x1E3779B97F4A7C15


class Teacher:
    """A frozen copy of a model in evaluation mode, perhaps without its knowledge.

    Args:
        original: The model to be copied.
        seed: None keeps the weights; a number re-initializes them from it, which makes an incompetent teacher.

    Raises:
        ModelError: If the weights shall be re-initialized and a module does not know how to.

    Examples:
        >>> teacher = Teacher(Predictor(nn.Linear(2, 3)), seed=0)
        >>> teacher(Batch(torch.zeros(4, 2), torch.zeros(4), torch.arange(4))).requires_grad
        False
    """

    def __init__(self, original: Predictor, seed: int | None = None) -> None:
        model = copy_model(original.model)
        if seed is not None:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed((seed + SEED_OFFSET) % 2**63)
                # On the CPU, so that the teacher is the same on every device.
                device = device_of(model)
                reset_weights(model.cpu())
                model.to(device)
        self.predict = original.with_model(model.eval().requires_grad_(False))

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """Return the logits (n, classes) of a batch."""
        return self.predict(batch.inputs)


def validate_teacher(teacher: Teacher | None) -> Teacher:
    """Return the teacher."""
    if teacher is None:
        actual = "none, because prepare has not been called"
        raise ObjectiveError("a teacher", actual, "call prepare(Predictor(model), split) first")
    return teacher


def reset_weights(model: nn.Module) -> None:
    """Re-initialize every weight and every statistic of a model in place."""
    able = [module for module in model.modules() if callable(getattr(module, "reset_parameters", None))]
    for name, module in model.named_modules():
        if module not in able and next(module.parameters(recurse=False), None) is not None:
            actual = f"'{name}' ({type(module).__name__})"
            raise ModelError("modules that can re-initialize themselves", actual, "give it a reset_parameters method")
    for module in able:
        module.reset_parameters()  # type: ignore[operator]
