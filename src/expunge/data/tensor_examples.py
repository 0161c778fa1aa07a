"""Examples that are all in memory, and their normalisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from expunge.batch import Batch, on_tensors
from expunge.data.augment import Augment, none
from expunge.data.labels import as_labels, as_tensor
from expunge.errors import DataError


@dataclass(frozen=True)
class Affine:
    """Normalisation of each channel: ``(value - mean) / std``, with values between 0 and 1.

    Args:
        mean: Mean of each channel.
        std: Standard deviation of each channel, greater than 0.

    Examples:
        >>> Affine((0.5,), (0.25,))(torch.ones(1, 1, 1, 2))
        tensor([[[[2., 2.]]]])
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, values: Tensor) -> Tensor:
        """Return the normalised values; channels are dimension 1."""
        return self.on(values.device)(values)

    def on(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """Return the same normalisation with its numbers on a device, so that none travels there when it is used."""
        # Double precision, so that each type of values meets the numbers rounded once.
        mean, std = (torch.tensor(numbers, dtype=torch.float64).to(device) for numbers in (self.mean, self.std))

        def normalise(values: Tensor) -> Tensor:
            shape = (1, -1) + (1,) * (values.dim() - 2)
            return values.sub(mean.to(values.dtype).view(shape)).div_(std.to(values.dtype).view(shape))

        return normalise


class TensorExamples:
    """Examples that are all in memory.

    Args:
        inputs: A tensor ``(n, ...)`` or a mapping of such tensors. Tensors of uint8 are images: they stay bytes in
            memory and become float32 between 0 and 1 when they are read.
        targets: Labels, ``(n,)``, whole numbers.
        names: Names of the classes, if they have any.
        augment: What training may do to a batch of inputs; ``batch`` never does it.
        scale: Normalisation applied to what is read.

    Raises:
        DataError: If labels are not whole numbers or their count is not that of the inputs.

    Examples:
        >>> examples = TensorExamples(torch.full((3, 1, 2, 2), 255, dtype=torch.uint8), [0, 1, 0])
        >>> examples.batch(torch.tensor([2])).inputs.unique()
        tensor([1.])
    """

    def __init__(
        self,
        inputs: Any,
        targets: Any,
        names: Sequence[str] | None = None,
        augment: Augment | None = None,
        *,
        scale: Affine | None = None,
    ) -> None:
        self.inputs = _as_tensors(inputs)
        self.targets = as_labels(targets, _count(self.inputs))
        self.names = None if names is None else tuple(names)
        self.augment: Augment = augment or none
        self.scale = scale

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.targets)

    def batch(self, indices: Tensor) -> Batch:
        """Return the examples at ``indices``, normalised but never augmented."""
        inputs = on_tensors(self.inputs, lambda tensor: as_numbers(tensor.index_select(0, indices), self.scale))
        return Batch(inputs, self.targets.index_select(0, indices), indices)


def as_numbers(values: Tensor, scale: Callable[[Tensor], Tensor] | None) -> Tensor:
    """Return what was read as a model takes it: bytes as numbers between 0 and 1, and real numbers normalised."""
    if values.dtype == torch.uint8:
        values = values.float().div_(255)
    return scale(values) if scale is not None and values.is_floating_point() else values


def _as_tensors(inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return {name: as_tensor(value) for name, value in inputs.items()}
    return as_tensor(inputs)


def _count(inputs: Any) -> int:
    counts = {len(tensor) for tensor in (inputs.values() if isinstance(inputs, Mapping) else [inputs])}
    if len(counts) != 1:
        raise DataError("inputs of one length", f"lengths {sorted(counts)}", "give every example every input")
    return counts.pop()
