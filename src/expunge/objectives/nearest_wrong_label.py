"""NearestWrongLabel: give each forgotten example the label on the other side of the nearest decision boundary."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from expunge.batch import Batch, Examples, Predictor, Split
from expunge.errors import ObjectiveError
from expunge.objectives.objective import Model, Objective
from expunge.objectives.teacher import Teacher, validate_teacher


class NearestWrongLabel(Objective):
    """Cross entropy with the nearest wrong label, found by one adversarial step on the original.

    Paper: "Boundary Unlearning: Rapid Forgetting of Deep Networks via Shifting the Decision Boundary" (Chen et al.,
    CVPR 2023, arXiv 2303.11570): boundary shrink.

    Formula: mean over examples of −log p_ỹ(x), ỹ = argmax_{c ≠ y} z_c(x′), x′ = clamp(x + b (h − l) sign ∇_x CE(x, y),
    l, h), z and CE those of the original in evaluation mode, l and h the least and the greatest input value in D_f.

    Args:
        bound: b > 0, the length of the step as a share of the range of input values. Default .1 (authors).

    Raises:
        ObjectiveError: If the bound is not positive; in ``prepare``, if the inputs are not tensors of real numbers;
            when drawing, without ``prepare``.

    Examples:
        >>> NearestWrongLabel()
        NearestWrongLabel(bound=0.1)

    Differences from the authors' code: the true label is never taken, where the code takes it whenever the step does
    not reach a boundary; inputs may have any range; adversarial examples are not rounded to 256 levels.
    """

    aliases: ClassVar[tuple[str, ...]] = ("boundary_shrink", "boundary")
    paper: ClassVar[str] = "arXiv 2303.11570"

    def __init__(self, bound: float = 0.1) -> None:
        if not bound > 0:
            raise ObjectiveError("a bound > 0", f"{bound}", "use .1, the authors' value")
        self.bound = bound
        self.teacher: Teacher | None = None
        self.input_limits = (0.0, 1.0)

    def prepare(self, original: Predictor, data: Split) -> None:
        """Keep a frozen copy of the original, and the range of the inputs."""
        self.teacher, self.input_limits = Teacher(original), find_input_range(data.forget)

    def sample(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Return the batch with ``labels``, the nearest wrong ones (n,)."""
        predict = validate_teacher(self.teacher).predict
        low, high = self.input_limits
        with torch.enable_grad():
            inputs = batch.inputs.detach().clone().requires_grad_()
            loss = functional.cross_entropy(predict(inputs), batch.targets, reduction="sum")
            (slope,) = torch.autograd.grad(loss, [inputs])
        moved = (inputs.detach() + self.bound * (high - low) * slope.sign()).clamp(low, high)
        with torch.no_grad():
            logits = predict(moved).scatter(1, batch.targets[:, None], -torch.inf)
        return batch.with_extras(labels=logits.argmax(1))

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return the mean cross entropy with the nearest wrong labels."""
        return functional.cross_entropy(model(batch.inputs), batch.extras["labels"])


def find_input_range(examples: Examples, batch_size: int = 256) -> tuple[float, float]:
    """Return the least and the greatest input value."""
    low, high = float("inf"), float("-inf")
    for part in torch.arange(len(examples)).split(batch_size):
        inputs = examples.batch(part).inputs
        if not (isinstance(inputs, Tensor) and inputs.is_floating_point()):
            actual = str(inputs.dtype) if isinstance(inputs, Tensor) else type(inputs).__name__
            raise ObjectiveError("inputs that can be moved: a tensor of real numbers", actual, "use another objective")
        low, high = min(low, float(inputs.min())), max(high, float(inputs.max()))
    return low, high
