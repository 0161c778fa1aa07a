"""The base of all objectives: a loss to be minimized, deterministic given the batch."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from expunge.batch import Batch, Predictor, Split
from expunge.type_checks import enforce_constructor_types

Model = Callable[[Any], Tensor]


class Objective(ABC):
    """A mean loss over the examples of a batch, to be minimized.

    Everything random is drawn into the batch by ``sample``, once per update, so that the same batch means the same loss
    however often it is asked for. The model is called once, with ``batch.inputs``, and returns logits.

    Attributes:
        aliases: Other names in the registry.
        paper: Where the objective comes from.
        task: The family of models that it is for, one of the ``tasks`` of the registry.
        can_be_negative: Whether the loss can be negative, so that there is no logarithm of it.
        couples_examples: Whether the loss of a batch differs from the mean over its parts; micro-batches and ranks are
            refused then.
        reads_weights: Whether the loss reads the weights themselves, of which a rank under ``fully_shard`` has a part
            only.
    """

    aliases: ClassVar[tuple[str, ...]] = ()
    paper: ClassVar[str] = ""
    task: ClassVar[str] = "classification"
    can_be_negative: ClassVar[bool] = False
    couples_examples: ClassVar[bool] = False
    reads_weights: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        """Let the constructor of every subclass refuse arguments of the wrong kind."""
        super().__init_subclass__(**options)
        enforce_constructor_types(cls)

    def prepare(self, original: Predictor, data: Split) -> None:
        """Look once at the original model and at the data, before the first update.

        Args:
            original: The model as it was handed in, in evaluation mode.
            data: The split of the request.
        """

    def sample(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Return the batch with what this objective draws for one update.

        Args:
            batch: The examples, on the model's device; on several ranks those of one of them.
            epoch: Passes made over the data so far.
            generator: A CPU generator of this update's own, the same on all ranks: what is drawn from it for each
                example goes through ``Batch.own``.
        """
        return batch

    @abstractmethod
    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return the mean loss, a tensor of one element."""

    def __repr__(self) -> str:
        """Return the call that rebuilds the objective."""
        names = inspect.signature(type(self)).parameters
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"
