"""What separates two states of one network: which layers moved, and by how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.errors import ModelError


@dataclass(frozen=True)
class Layer:
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


def layers_moved(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> tuple[Layer, ...]:
    """Return how far each module moved, in the order of the network; norms are taken in float64.

    Args:
        before: θ, a ``state_dict``.
        after: θ′, with the same keys and shapes.

    Raises:
        ModelError: If keys or shapes differ.

    Examples:
        >>> before = {"a.weight": torch.ones(2), "b.weight": torch.ones(4)}
        >>> moved = layers_moved(before, before | {"b.weight": torch.tensor([1.0, 1.0, 1.0, 2.0])})
        >>> [(layer.name, layer.changed, layer.relative) for layer in moved]
        [('a', 0, 0.0), ('b', 1, 0.5)]
    """
    refuse_other_form(before, after)
    groups: dict[str, list[str]] = {}
    for key in before:
        groups.setdefault(key.rpartition(".")[0], []).append(key)
    return tuple(moved(name, [(before[key], after[key]) for key in keys]) for name, keys in groups.items())


def moved(name: str, pairs: list[tuple[Tensor, Tensor]]) -> Layer:
    """Return how far the tensors of one module moved."""
    old, new = (
        torch.cat([part.detach().double().cpu().flatten() for part in side]) for side in zip(*pairs, strict=True)
    )
    apart, length = new - old, float(old.norm())
    relative = float(apart.norm()) / length if length else None
    largest = float(apart.abs().max()) if apart.numel() else 0.0
    return Layer(name, old.numel(), int((apart != 0).sum()), relative, largest)


def refuse_other_form(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
    """Refuse states that are not of one network.

    Raises:
        ModelError: If keys or shapes differ.
    """
    other = [name for name in {**before, **after} if shape_of(before, name) != shape_of(after, name)]
    if other:
        first, second = (shape_of(state, other[0]) for state in (before, after))
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        found = f"'{other[0]}', {first or 'absent'} in one and {second or 'absent'} in the other{more}"
        raise ModelError("two models with the same names and shapes", found, "compare models of one architecture")


def shape_of(state: Mapping[str, Tensor], name: str) -> str:
    """Return the shape of a tensor in words; empty where there is none."""
    return str(tuple(state[name].shape)) if name in state else ""
