"""Examples that are all in memory, and their normalization."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from expunge.batch import Batch, map_tensors
from expunge.data.augment import Augment, none
from expunge.data.labels import as_labels, as_tensor
from expunge.errors import DataError, sanitize
from expunge.type_checks import check_argument_types


@dataclass(frozen=True)
class Normalize:
    """Normalization of each channel: ``(value - mean) / std``, with values between 0 and 1.

    Args:
        mean: Mean of each channel.
        std: Standard deviation of each channel, greater than 0.

    Examples:
        >>> Normalize((0.5,), (0.25,))(torch.ones(1, 1, 1, 2))
        tensor([[[[2., 2.]]]])
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, values: Tensor) -> Tensor:
        """Return the normalized values; channels are dimension 1."""
        return self.to(values.device)(values)

    def to(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """Return the same normalization with its numbers on a device, so that none travels there when it is used."""
        # Double precision, so that each type of values meets the numbers rounded once.
        mean, std = (torch.tensor(numbers, dtype=torch.float64).to(device) for numbers in (self.mean, self.std))

        def normalize(values: Tensor) -> Tensor:
            shape = (1, -1) + (1,) * (values.dim() - 2)
            return values.sub(mean.to(values.dtype).view(shape)).div_(std.to(values.dtype).view(shape))

        return normalize


class TensorExamples:
    """Examples that are all in memory; without a ``scale`` a batch holds the inputs exactly as they are stored.

    Args:
        inputs: A tensor ``(n, ...)`` or a mapping of such tensors.
        targets: Labels, ``(n,)`` or ``(n, 1)``, whole numbers.
        names: Names of the classes, if they have any.
        augment: What training may do to a batch of inputs; ``batch_size`` never does it.
        scale: Normalization of floating-point inputs. With it, tensors of uint8 are 8-bit pictures: they are divided by
            255 and then normalized, both when they are read. Default: none, and bytes stay bytes.

    Attributes:
        batch_targets: What the targets of a batch are rows of: the labels; other tasks have targets of their own.
        ids: The user's id of each example, in order, by which ``ByIds`` and the ledger know it. Default none.

    Raises:
        DataError: If inputs are no dense arrays of numbers of one length, labels are not whole numbers, or their count
            is not that of the inputs.

    Examples:
        >>> white = torch.full((3, 1, 2, 2), 255, dtype=torch.uint8)
        >>> TensorExamples(white, [0, 1, 0]).batch(torch.tensor([2])).inputs.unique()
        tensor([255], dtype=torch.uint8)
        >>> TensorExamples(white, [0, 1, 0], scale=Normalize((0.5,), (0.25,))).batch(torch.tensor([2])).inputs.unique()
        tensor([2.])
    """

    @check_argument_types
    def __init__(
        self,
        inputs: Any,
        targets: Any,
        names: Sequence[str] | None = None,
        augment: Augment | None = None,
        *,
        scale: Normalize | None = None,
    ) -> None:
        self.inputs = _as_tensors(inputs)
        self.targets = as_labels(targets, _count_examples(self.inputs))
        self.batch_targets = self.targets
        self.names = None if names is None else tuple(names)
        self.augment: Augment = augment or none
        self.scale = scale
        self.ids: Sequence[Any] | None = None

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.targets)

    def batch(self, indices: Tensor) -> Batch:
        """Return the examples at ``indices``, normalized but never augmented."""
        inputs = map_tensors(self.inputs, lambda tensor: normalize_values(tensor.index_select(0, indices), self.scale))
        return Batch(inputs, self.batch_targets.index_select(0, indices), indices)


def normalize_values(values: Tensor, scale: Callable[[Tensor], Tensor] | None) -> Tensor:
    """Return values as they are without a scale; with one, bytes become numbers from 0 to 1 and floats normalized."""
    if scale is None:
        return values
    if values.dtype == torch.uint8:
        values = values.float().div_(255)
    return scale(values) if values.is_floating_point() else values


def _as_tensors(inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return {name: _as_input(value) for name, value in inputs.items()}
    return _as_input(inputs)


def _as_input(values: Any) -> Tensor:
    try:
        tensor = as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = f"{type(values).__name__} of {values.dtype}" if hasattr(values, "dtype") else type(values).__name__
        hint = "convert them, or pass a map-style data set, which is read item by item"
        raise DataError("inputs as an array of numbers", f"{kind} ({sanitize(str(error))})", hint) from error
    if tensor.is_meta:
        raise DataError("inputs with data", "a tensor on the device 'meta'", "load them first")
    if tensor.layout != torch.strided or not tensor.dim():
        actual = f"a tensor of layout {tensor.layout} and {tensor.dim()} dimensions"
        raise DataError("inputs as a dense tensor (n, ...)", actual, "call to_dense(), and stack the examples")
    if np.ma.is_masked(values):
        raise DataError("inputs without masked values", "some that are masked", "fill them in")
    return tensor


def _count_examples(inputs: Any) -> int:
    counts = {len(tensor) for tensor in (inputs.values() if isinstance(inputs, Mapping) else [inputs])}
    if len(counts) != 1:
        raise DataError("inputs of one length", f"lengths {sorted(counts)}", "give every example every input")
    return counts.pop()
