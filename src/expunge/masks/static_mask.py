"""Kept: the base of masks that are chosen once, before the first update."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from expunge.errors import ConfigError, ModelError
from expunge.masks.mask import Mask
from expunge.surgery import Direction, Step
from expunge.surgery.direction import is_sharded, shard_like


class StaticMask(Mask, ABC):
    """Holds one piece for each trainable weight and hands the same pieces out at every update."""

    def __init__(self) -> None:
        super().__init__()
        self.num_pieces = 0

    def set_mask(self, pieces: Iterable[Tensor]) -> None:
        """Keep the pieces as buffers ``keep_0``, ``keep_1`` and so on."""
        self.num_pieces = 0
        for piece in pieces:
            self.register_buffer(f"keep_{self.num_pieces}", piece)
            self.num_pieces += 1

    def get_mask(self) -> Direction:
        """Return the pieces."""
        return Direction(self.get_buffer(f"keep_{index}") for index in range(self.num_pieces))

    def get_mask_like(self, pieces: Sequence[Tensor]) -> Direction:
        """Return the pieces; where ranks have parts of the weights, their parts of the mask from here on."""
        if pieces and is_sharded(pieces[0]) and self.num_pieces and not is_sharded(self.get_buffer("keep_0")):
            self.set_mask([shard_like(mask, piece) for mask, piece in zip(self.get_mask(), pieces, strict=True)])
        return self.get_mask()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """Make room for the pieces before they are loaded: a new mask does not know how many there are."""
        self.set_mask(piece.clone() for name, piece in state_dict.items() if name.startswith(f"{prefix}keep_"))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def observe(self, step: Step) -> None:
        """Refuse to go on without a mask, before anything moves.

        Raises:
            ConfigError: If ``prepare`` has not been called.
        """
        if not self.num_pieces:
            actual = "none, because prepare has not been called"
            hint = "call mask.prepare(Predictor(model), split) first"
            raise ConfigError(f"a mask of {type(self).__name__}", actual, hint)

    def compute(self, displacement: Direction, step: Step) -> Direction:
        """Return the mask made at the start."""
        mask = self.get_mask_like(displacement.pieces)
        if [piece.shape for piece in mask] != [piece.shape for piece in displacement]:
            actual = f"a mask of {len(mask)} pieces for {len(displacement)} of weights"
            hint = "give the optimizer all weights that require a gradient, or switch the others' requires_grad off"
            raise ModelError("a mask made for the weights that the optimizer moves", actual, hint)
        return mask
