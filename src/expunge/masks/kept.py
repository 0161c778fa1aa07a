"""Kept: the base of masks that are chosen once, before the first update."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from expunge.errors import ConfigError, ModelError
from expunge.masks.mask import Mask
from expunge.surgery import Direction, Step
from expunge.surgery.direction import is_sharded, sharded_like


class Kept(Mask, ABC):
    """Holds one piece for each trainable weight and hands the same pieces out at every update."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces = 0

    def hold(self, pieces: Iterable[Tensor]) -> None:
        """Keep the pieces as buffers ``keep_0``, ``keep_1`` and so on."""
        self.pieces = 0
        for piece in pieces:
            self.register_buffer(f"keep_{self.pieces}", piece)
            self.pieces += 1

    def held(self) -> Direction:
        """Return the pieces."""
        return Direction(self.get_buffer(f"keep_{index}") for index in range(self.pieces))

    def held_like(self, pieces: Sequence[Tensor]) -> Direction:
        """Return the pieces; where ranks have parts of the weights, their parts of the mask from here on."""
        if pieces and is_sharded(pieces[0]) and self.pieces and not is_sharded(self.get_buffer("keep_0")):
            self.hold([sharded_like(own, piece) for own, piece in zip(self.held(), pieces, strict=True)])
        return self.held()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """Make room for the pieces before they are loaded: a new mask does not know how many there are."""
        self.hold(piece.clone() for name, piece in state_dict.items() if name.startswith(f"{prefix}keep_"))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def observe(self, step: Step) -> None:
        """Refuse to go on without a mask, before anything moves.

        Raises:
            ConfigError: If ``prepare`` has not been called.
        """
        if not self.pieces:
            found = "none, because prepare has not been called"
            cure = "call mask.prepare(Predictor(model), split) first"
            raise ConfigError(f"a mask of {type(self).__name__}", found, cure)

    def choose(self, displacement: Direction, step: Step) -> Direction:
        """Return the mask made at the start."""
        mask = self.held_like(displacement.pieces)
        if [piece.shape for piece in mask] != [piece.shape for piece in displacement]:
            found = f"a mask of {len(mask)} pieces for {len(displacement)} of weights"
            cure = "give the optimiser all weights that require a gradient, or switch the others' requires_grad off"
            raise ModelError("a mask made for the weights that the optimiser moves", found, cure)
        return mask
