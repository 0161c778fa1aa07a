"""The loss between what a model returns and what it should, one number for each target."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from expunge.batch import Batch, Predictor
from expunge.errors import ModelError, ObjectiveError


class PointwiseLoss(ABC):
    """A loss of each output, averaged over the outputs of an example: the ``loss_fn`` of a predictor."""

    @abstractmethod
    def elementwise(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each output, ``(n, k)``."""

    @abstractmethod
    def decode(self, outputs: Tensor) -> Tensor:
        """Return outputs in the form of targets."""

    def difference(self, values: Tensor, others: Tensor) -> Tensor:
        """Return the difference of values in the form of targets, in units of their spread, ``(n, k)``."""
        return values - others

    def compute(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of each example, ``(n,)``.

        Raises:
            ModelError: If the model does not return as many numbers as there are targets.
        """
        outputs, targets = (one[:, None] if one.ndim == 1 else one for one in (outputs, targets))
        check_shape(outputs, targets)
        outputs = outputs if outputs.dtype.itemsize >= 4 else outputs.float()
        return self.elementwise(outputs, targets.to(outputs)).mean(1)

    def select_forgotten(self, targets: Tensor) -> Tensor:
        return torch.ones_like(targets, dtype=torch.bool)

    def mix(self, targets: Tensor, others: Tensor) -> Tensor:
        """Return targets with those that are to be forgotten taken from the others."""
        return torch.where(self.select_forgotten(targets), others, targets)

    def __call__(self, predict: Predictor, batch: Batch) -> Tensor:
        """Return the loss of each example of a batch, ``(n,)``."""
        return self.compute(predict(batch.inputs), batch.targets)


def check_shape(outputs: Tensor, targets: Tensor) -> None:
    """Refuse outputs that are not as many as the targets."""
    if outputs.shape != targets.shape or not outputs.is_floating_point():
        expected = f"outputs {tuple(targets.shape)}, one for each target"
        actual = f"{tuple(outputs.shape)}" if outputs.is_floating_point() else f"{outputs.dtype}"
        raise ModelError(expected, actual, "let the model return as many numbers as an example has targets")


def get_loss(predict: Predictor) -> PointwiseLoss:
    """Return the loss of a predictor."""
    if not isinstance(predict.loss_fn, PointwiseLoss):
        raise ObjectiveError("a model with a loss of targets", "another", "use an objective of its own task")
    return predict.loss_fn
