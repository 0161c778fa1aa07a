"""HoldoutDistillation: treat forgotten examples as the original treats examples that it has never seen."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from expunge.batch import Batch, Examples, Predictor, Split, device_of
from expunge.errors import ObjectiveError
from expunge.objectives.objective import Model, Objective


class HoldoutDistillation(Objective):
    """Distil a forgotten example to the original's prediction for a random held-out example of the same class.

    Source: this project, for instance requests: held-out behavior is what a retrained model would show on average.
    It cannot forget a whole class, because the original recognizes held-out examples of the class.

    Formula: mean over examples of KL(p₀(x̃) ‖ p(x)), p₀ the original's softmax, x̃ drawn anew at every update from the
    held-out examples with the label of x.

    Args:
        batch_size: Held-out examples in one forward pass of ``prepare``. Default 256.

    Raises:
        ObjectiveError: In ``prepare``, without held-out examples of each class to be forgotten.

    Examples:
        >>> HoldoutDistillation(batch_size=64)
        HoldoutDistillation(batch_size=64)
    """

    aliases: ClassVar[tuple[str, ...]] = ("distil_held_out", "held_out")
    paper: ClassVar[str] = "this project"

    def __init__(self, batch_size: int = 256) -> None:
        self.batch_size = batch_size
        self.predictions = torch.empty(0)
        self.order = torch.empty(0, dtype=torch.int64)
        self.starts = self.counts = self.order

    def prepare(self, original: Predictor, data: Split) -> None:
        """Predict the held-out examples once and sort them by label."""
        holdout = validate_holdout(data)
        targets = holdout.targets
        self.predictions = predict_all(original, holdout, self.batch_size)
        self.order = torch.argsort(targets, stable=True)
        self.counts = torch.bincount(targets, minlength=data.num_classes)
        self.starts = self.counts.cumsum(0) - self.counts

    def sample(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Return the batch with ``teacher``, predictions (n, classes) of held-out examples of the same labels.

        Raises:
            ObjectiveError: If ``prepare`` has not been called.
        """
        if not len(self.predictions):
            actual = "none, because prepare has not been called"
            raise ObjectiveError("predictions of held-out examples", actual, "call prepare(original, split) first")
        self._move(batch.targets.device)
        labels, chance = batch.targets, batch.draw_local(lambda count: torch.rand(count, generator=generator))
        offset = chance.to(labels.device, non_blocking=True) * self.counts[labels]
        return batch.with_extras(teacher=self.predictions[self.order[self.starts[labels] + offset.long()]])

    def _move(self, device: torch.device) -> None:
        """Bring the tables to the device of the batches, once: a look-up on the host would wait for the labels."""
        if self.predictions.device != device:
            for name in ("predictions", "order", "starts", "counts"):
                setattr(self, name, getattr(self, name).to(device))

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return the mean divergence from the drawn predictions."""
        log_p = model(batch.inputs).log_softmax(1)
        return functional.kl_div(log_p, batch.extras["teacher"], reduction="batchmean")


def validate_holdout(data: Split) -> Examples:
    """Return the held-out examples, or refuse if a class to be forgotten has none."""
    hint = "pass held-out examples (holdout=) that the original has not been trained on"
    if data.holdout is None:
        raise ObjectiveError("held-out examples to learn their predictions from", "none", hint)
    missing = set(data.forget.targets.unique().tolist()) - set(data.holdout.targets.unique().tolist())
    if missing:
        raise ObjectiveError("held-out examples of every class to be forgotten", f"none of class {min(missing)}", hint)
    return data.holdout


@torch.no_grad()
def predict_all(original: Predictor, examples: Examples, batch_size: int) -> Tensor:
    """Return the original's probabilities (n, classes) for all examples, on the CPU."""
    device = device_of(original.model)
    parts = torch.arange(len(examples)).split(batch_size)
    return torch.cat([original(examples.batch(part).to(device).inputs).softmax(1).float().cpu() for part in parts])
