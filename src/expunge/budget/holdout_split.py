"""The split of held-out retain examples: one half controls, the other is opened once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from expunge.errors import ConfigError, DataError
from expunge.seeds import make_generator


class HoldoutIndices(NamedTuple):
    """Positions in the held-out set, ascending.

    Args:
        control: For the controller, selection and stopping.
        certify: For the utility certificate alone.
    """

    control: Tensor
    certify: Tensor


def select_one_per_id(ids: Sequence[str] | None, positions: Tensor, seed: int = 0) -> Tensor:
    """Return one position of each id, ascending: examples of one individual are not independent of each other.

    Args:
        ids: Of all examples; None where there are none, so that each counts as another individual.
        positions: Among which one is drawn, ``(k,)`` int64, ascending.
        seed: Of the draw.

    Examples:
        >>> len(select_one_per_id(["ann", "bob", "ann"], torch.arange(3)))
        2
    """
    if ids is None or len({ids[place] for place in positions.tolist()}) == len(positions):
        return positions
    order = positions[torch.randperm(len(positions), generator=make_generator(seed))]
    position_of_id = {ids[place]: place for place in order.tolist()}
    return torch.tensor(sorted(position_of_id.values()), dtype=torch.int64)


def split_holdout(
    targets: Tensor, seed: int = 0, certify_fraction: float = 0.5, excluded_classes: Collection[int] = ()
) -> HoldoutIndices:
    """Return a split of held-out examples that depends on labels and seed alone, each class in the same proportion.

    A split used for control certifies nothing. Where a class's share is no whole number of examples, the fractions are
    carried over from class to class, so that the total is right to within one.

    Args:
        targets: Labels of the held-out set, ``(n,)`` int64.
        seed: Of the draw.
        certify_fraction: Share of the certify half, in (0, 1). Default ½.
        excluded_classes: Classes left out of both: those to be forgotten, whose accuracy is to fall.

    Raises:
        ConfigError: If the share is not between 0 and 1.
        DataError: If a half would be empty.

    Examples:
        >>> halves = split_holdout(torch.tensor([0, 0, 0, 0, 1, 1, 2, 2]), excluded_classes=[2])
        >>> len(halves.control), len(halves.certify)
        (3, 3)
    """
    if not 0 < certify_fraction < 1:
        raise ConfigError("a share between 0 and 1 for the certify half", f"{certify_fraction}", "use .5")
    generator, remainder = make_generator(seed), 0.0
    certify_parts, control_parts = [], []
    for label in targets.unique().tolist():
        if label in excluded_classes:
            continue
        class_positions = (targets == label).nonzero().flatten().cpu()
        class_positions = class_positions[torch.randperm(len(class_positions), generator=generator)]
        remainder += certify_fraction * len(class_positions)
        count = min(len(class_positions), round(remainder))
        remainder -= count
        certify_parts.append(class_positions[:count])
        control_parts.append(class_positions[count:])
    halves = HoldoutIndices(
        *(torch.cat([torch.empty(0, dtype=torch.int64), *p]).sort().values for p in (control_parts, certify_parts))
    )
    if not min(map(len, halves)):
        actual = f"{len(halves.control)} to control and {len(halves.certify)} to certify"
        raise DataError("held-out retain examples for both halves", actual, "hold out more examples")
    return halves
