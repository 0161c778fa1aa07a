"""Which shadow models there are: what each is trained on, and the seed of its start and of its order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.errors import ConfigError
from expunge.seeds import make_generator


@dataclass(frozen=True, eq=False)
class Shadow:
    """One shadow model that is to be trained.

    Args:
        positions: Positions of its training examples, ``(n,)`` int64.
        seed: Of its initialization, its order, its augmentation and its dropout.
    """

    positions: Tensor
    seed: int


def draw_complementary_halves(candidates: int, models: int, seed: int = 0) -> Tensor:
    """Return which candidate each shadow model is trained on: random halves, every second one the rest of the first.

    So every candidate is in for exactly half of the models, and models 2j and 2j + 1 share none.

    Args:
        candidates: How many examples there are to draw from, at least 2.
        models: How many shadow models; an even number.
        seed: Of the draws.

    Returns:
        Booleans ``(models, candidates)``.

    Raises:
        ConfigError: If there are fewer than two candidates or the number of models is odd.

    Examples:
        >>> inside = draw_complementary_halves(6, 4)
        >>> inside.sum(0).tolist(), inside.sum(1).tolist()
        ([2, 2, 2, 2, 2, 2], [3, 3, 3, 3])
    """
    if candidates < 2:
        raise ConfigError("at least 2 candidates", f"{candidates}", "ask for more examples to be forgotten")
    if models < 2 or models % 2:
        raise ConfigError("an even number of shadow models", f"{models}", "use for example 32")
    generator = make_generator(seed)
    inside = torch.zeros(models, candidates, dtype=torch.bool)
    for first in range(0, models, 2):
        inside[first, torch.randperm(candidates, generator=generator)[: candidates // 2]] = True
        inside[first + 1] = ~inside[first]
    return inside


def group_by_size(shadows: Sequence[Shadow], group_size: int) -> Iterator[list[int]]:
    """Yield the numbers of shadow models that can be trained at once: as many examples each, ``at_once`` at most."""
    by_size: dict[int, list[int]] = {}
    for number, shadow in enumerate(shadows):
        by_size.setdefault(len(shadow.positions), []).append(number)
    for numbers in by_size.values():
        yield from (numbers[start : start + group_size] for start in range(0, len(numbers), group_size))
