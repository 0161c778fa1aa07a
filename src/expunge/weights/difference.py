"""What separates two states of one network: which layers moved, and by how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.errors import ModelError


@dataclass(frozen=True)
class LayerChange:
    """How far the numbers of one module are from what they were.

    Args:
        name: Dotted name of the module; empty for the network itself.
        numbers: How many numbers it holds, buffers included.
        changed: How many of them differ.
        relative: ‖θ′ − θ‖/‖θ‖ over all of them; None where ‖θ‖ is 0.
        largest: max |θ′ − θ|.
    """

    name: str
    numbers: int
    changed: int
    relative: float | None
    largest: float


def compare_layers(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> tuple[LayerChange, ...]:
    """Return how far each module moved, in the order of the network; norms are taken in float64.

    Args:
        before: θ, a ``state_dict``.
        after: θ′, with the same keys and shapes.

    Raises:
        ModelError: If keys or shapes differ.

    Examples:
        >>> before = {"a.weight": torch.ones(2), "b.weight": torch.ones(4)}
        >>> compare_layer = compare_layers(before, before | {"b.weight": torch.tensor([1.0, 1.0, 1.0, 2.0])})
        >>> [(layer.name, layer.changed, layer.relative) for layer in compare_layer]
        [('a', 0, 0.0), ('b', 1, 0.5)]
    """
    check_same_shapes(before, after)
    groups: dict[str, list[str]] = {}
    for key in before:
        groups.setdefault(key.rpartition(".")[0], []).append(key)
    return tuple(compare_layer(name, [(before[key], after[key]) for key in keys]) for name, keys in groups.items())


def compare_layer(name: str, pairs: list[tuple[Tensor, Tensor]]) -> LayerChange:
    """Return how far the tensors of one module moved."""
    old, new = (
        torch.cat([part.detach().double().cpu().flatten() for part in side]) for side in zip(*pairs, strict=True)
    )
    difference, norm = new - old, float(old.norm())
    relative = float(difference.norm()) / norm if norm else None
    largest = float(difference.abs().max()) if difference.numel() else 0.0
    return LayerChange(name, old.numel(), int((difference != 0).sum()), relative, largest)


def check_same_shapes(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
    """Refuse states that are not of one network."""
    mismatched = [name for name in {**before, **after} if describe_shape(before, name) != describe_shape(after, name)]
    if mismatched:
        first, second = (describe_shape(state, mismatched[0]) for state in (before, after))
        more = f" and {len(mismatched) - 1} more" if len(mismatched) > 1 else ""
        actual = f"'{mismatched[0]}', {first or 'absent'} in one and {second or 'absent'} in the other{more}"
        raise ModelError("two models with the same names and shapes", actual, "compare models of one architecture")


def describe_shape(state: Mapping[str, Tensor], name: str) -> str:
    """Return the shape of a tensor in words; empty where there is none."""
    return str(tuple(state[name].shape)) if name in state else ""
