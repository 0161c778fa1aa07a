"""Remembering: the base of surgeries that keep whole gradients from earlier updates."""

from __future__ import annotations

import re
from abc import ABC
from typing import Any

from torch import Tensor

from expunge.surgery.direction import Direction
from expunge.surgery.surgery import Surgery


class DirectionMemory(Surgery, ABC):
    """Keeps directions as buffers ``memory_<slot>_<piece>``, so that they travel in ``state_dict``."""

    def store_direction(self, slot: int, direction: Direction) -> None:
        """Keep a direction in a slot, in place of what was there; it must not be changed afterwards."""
        for index, piece in enumerate(direction):
            self.register_buffer(f"memory_{slot}_{index}", piece.detach())

    def load_direction(self, slot: int) -> Direction | None:
        """Return what the slot holds; None if nothing."""
        pieces: list[Tensor] = []
        while (name := f"memory_{slot}_{len(pieces)}") in self._buffers:
            pieces.append(self.get_buffer(name))
        return Direction(pieces) if pieces else None

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """Make room for the pieces before they are loaded: a new surgery does not know how many there are."""
        for name, piece in state_dict.items():
            local_name = name.removeprefix(prefix)
            if name.startswith(prefix) and re.fullmatch(r"memory_\d+_\d+", local_name):
                self.register_buffer(local_name, piece.clone())
        super()._load_from_state_dict(state_dict, prefix, *rest)
