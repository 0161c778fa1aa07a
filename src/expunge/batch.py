"""What travels from data to objectives: batches that know their indices, examples, and a split of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from expunge.errors import ModelError
from expunge.forward import forward_pass, sparse_embeddings


def map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply ``function`` to a tensor, or to each tensor of a mapping or sequence of them."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: map_tensors(item, function) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map_tensors(item, function) for item in value)
    return value


@dataclass(frozen=True)
class ShardInfo:
    """Where the examples of one rank stand in a batch that is spread over several.

    Args:
        offset: Place of the rank's first example among those of all ranks.
        total: Examples of all ranks.
        max_per_rank: Examples of the rank that has most of them.
        contributes: Whether the rank's examples count. False for a stand-in, which a rank without any evaluates with
            weight 0, because the others wait for it.
    """

    offset: int
    total: int
    max_per_rank: int
    contributes: bool = True


@dataclass(frozen=True)
class Batch:
    """Examples that are used together.

    Args:
        inputs: What the model takes: a tensor ``(n, ...)`` or a mapping of such tensors.
        targets: What the loss compares outputs with: labels, ``(n,)`` int64, for classifiers.
        indices: Position of each example in its data set, ``(n,)`` int64.
        extras: What an objective drew for this update (labels, noise, teacher outputs), each ``(n, ...)``.
        shard: Where they stand in the batch, if it is spread over ranks. Default: they are the batch.

    Examples:
        >>> batch = Batch(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]), torch.arange(4))
        >>> [len(part) for part in batch.chunks(3)]
        [1, 1, 2]
    """

    inputs: Any
    targets: Tensor
    indices: Tensor
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    shard: ShardInfo | None = None

    def __len__(self) -> int:
        """Return the number of examples."""
        return int(self.indices.shape[0])

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Return the batch with ``function`` applied to every tensor in it."""
        return Batch(
            map_tensors(self.inputs, function),
            function(self.targets),
            function(self.indices),
            {name: function(value) for name, value in self.extras.items()},
            self.shard,
        )

    def draw_local(self, draw: Callable[[int], Tensor]) -> Tensor:
        """Return these examples' part of what ``draw(n)`` draws for all n of the update, whatever rank they are on.

        So an update on several ranks meets the numbers that it meets on one.

        Examples:
            >>> shard = ShardInfo(offset=1, total=3, max_per_rank=2)
            >>> one = Batch(torch.zeros(2), torch.zeros(2), torch.arange(2), shard=shard)
            >>> one.draw_local(torch.arange).tolist()
            [1, 2]
        """
        if self.shard is None:
            return draw(len(self))
        return draw(self.shard.total)[self.shard.offset : self.shard.offset + len(self)]

    def to(self, device: torch.device) -> Batch:
        """Return the batch on ``device``; the batch itself if it is there already."""
        if self.targets.device == device:
            return self
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def chunks(self, count: int) -> tuple[Batch, ...]:
        """Return at most ``count`` consecutive parts, none empty, whose sizes differ by one at most."""
        count = max(1, min(count, len(self)))
        if count == 1:
            return (self,)
        bounds = [len(self) * part // count for part in range(count + 1)]
        return tuple(self.slice(low, high) for low, high in pairwise(bounds))

    def slice(self, low: int, high: int) -> Batch:
        """Return the examples from ``low`` up to ``high``, not included."""
        batch = self.map(lambda tensor: tensor[low:high])
        return (
            batch
            if batch.shard is None
            else replace(batch, shard=replace(batch.shard, offset=batch.shard.offset + low))
        )

    def with_extras(self, **extras: Tensor) -> Batch:
        """Return the batch with more drawn quantities beside those it has."""
        return replace(self, extras={**self.extras, **extras})


class Examples(Protocol):
    """A data set that is read by lists of indices; ``expunge.data.as_examples`` makes one of any map-style data set.

    It may have an attribute ``ids``, the user's id of each example in order: several examples of one id, such as the
    rows of one customer, are forgotten together.
    """

    @property
    def targets(self) -> Tensor:
        """Label of each example, ``(n,)`` int64: its class, or its group where there are no classes."""

    def __len__(self) -> int:
        """Return the number of examples."""
        ...

    def batch(self, indices: Tensor) -> Batch:
        """Return the examples at ``indices``, an int64 tensor ``(b,)``; ``Batch.indices`` repeats them."""
        ...


@dataclass(frozen=True)
class Split:
    """What a request leaves: examples to forget, examples to retain, and held-out ones that no update sees.

    Args:
        forget: The examples to forget.
        retain: The examples whose loss must not rise.
        num_classes: Number of classes of the head.
        holdout: Examples of the same source that the original never trained on, if there are any.
        forgotten_classes: Labels of the classes that earlier requests forgot, which no objective teaches. Default none.
        caveat: What has to be said of the examples, a sentence. Default none.
    """

    forget: Examples
    retain: Examples
    num_classes: int
    holdout: Examples | None = None
    forgotten_classes: tuple[int, ...] = ()
    caveat: str = ""


class Predictor:
    """A model together with the way to read logits from what it returns.

    A binary classifier may return one logit z, ``(n,)`` or ``(n, 1)``: it is read as the two logits (0, z), whose
    cross entropy is the binary cross entropy of z.

    Args:
        model: Any module; called with the batch's inputs, as keywords if they are a mapping.
        logits: Takes what the model returns and gives the logits ``(n, classes)``. By default a tensor is taken as
            it is, and an output with an attribute ``logits`` (transformers) by that attribute.
        loss_fn: The loss that the model was trained on: takes a ``Predictor`` and a batch of examples, and gives that
            of each example, ``(n,)``. Default: the cross entropy of the logits.
        max_batch_size: The most examples in one pass where gradients of whole data sets are computed. Default: no
            limit.

    Raises:
        ModelError: When called, if no logits tensor is found.

    Examples:
        >>> predict = Predictor(nn.Linear(2, 3), logits=lambda output: 2 * output)
        >>> predict(torch.zeros(4, 2)).shape
        torch.Size([4, 3])
    """

    def __init__(
        self,
        model: nn.Module,
        logits: Callable[[Any], Tensor] | None = None,
        loss_fn: Callable[[Predictor, Batch], Tensor] | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        self.model, self.logits, self.loss_fn, self.max_batch_size = model, logits, loss_fn, max_batch_size
        # Copies of a predictor are given other models.
        self._searched: nn.Module | None = None
        self._sparse: list[nn.Module] = []

    @property
    def sparse_modules(self) -> list[nn.Module]:
        """The embeddings of the model that ask for sparse gradients; passes give them dense ones."""
        if self._searched is not self.model:
            self._searched, self._sparse = self.model, sparse_embeddings(self.model)
        return self._sparse

    def __call__(self, inputs: Any) -> Tensor:
        """Return the logits of ``inputs``."""
        with forward_pass(self.model, self.sparse_modules, inputs):
            output = self.model(**inputs) if isinstance(inputs, Mapping) else self.model(inputs)
        logits = self.logits(output) if self.logits is not None else getattr(output, "logits", output)
        if not isinstance(logits, Tensor):
            raise ModelError(
                "a model that returns a tensor of logits",
                f"{type(logits).__name__}",
                "pass logits=, a function that takes the model's output and returns the logits tensor",
            )
        is_one_each = not isinstance(inputs, Tensor) or logits.shape[:1] == inputs.shape[:1]
        return widen_single_logit(logits) if self.loss_fn is None and is_one_each else logits

    def sum_loss(self, batch: Batch) -> Tensor:
        """Return the sum over examples of the loss that the model was trained on.

        What saliency and Fisher information are gradients of, whatever the family of the model.
        """
        if self.loss_fn is not None:
            return self.loss_fn(self, batch).sum()
        return functional.cross_entropy(self(batch.inputs), batch.targets, reduction="sum")

    def losses(self, batch: Batch) -> Tensor:
        """Return the loss that the model was trained on, of each example, ``(n,)``."""
        if self.loss_fn is not None:
            return self.loss_fn(self, batch)
        return functional.cross_entropy(self(batch.inputs).float(), batch.targets, reduction="none")

    def with_model(self, model: nn.Module) -> Predictor:
        """Return the same reading of another model."""
        return Predictor(model, self.logits, self.loss_fn, self.max_batch_size)


def widen_single_logit(logits: Tensor) -> Tensor:
    """Return the logits (0, z) of the labels 0 and 1 for a single logit z, and other logits as they are.

    Examples:
        >>> widen_single_logit(torch.tensor([[2.0], [-1.0]]))
        tensor([[ 0.,  2.],
                [ 0., -1.]])
    """
    if logits.ndim == 2 and logits.shape[1] == 1:
        logits = logits[:, 0]
    return torch.stack([torch.zeros_like(logits), logits], 1) if logits.ndim == 1 else logits


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode without gradients inside the context, and every module's mode back after it.

    Examples:
        >>> model = nn.Dropout().train()
        >>> with evaluation_mode(model):
        ...     model.training, torch.is_grad_enabled()
        (False, False)
        >>> model.training
        True
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def device_of(model: Any) -> torch.device:
    """Return the device that a model or pipeline says it is on, else that of its first parameter; else the CPU."""
    device = getattr(model, "device", None)
    if isinstance(device, torch.device):
        return device
    weights = model.parameters() if isinstance(model, nn.Module) else iter(())
    return next((weight.device for weight in weights), torch.device("cpu"))


def sample_indices(total: int, count: int, seed: int = 0) -> Tensor:
    """Return ``count`` random positions out of ``total``, the same for the same seed; all where there are not more."""
    return torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:count]
