"""A direction in weight space, kept as pieces of the parameters' shapes and never flattened into one vector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

Scale = float | Tensor


class Direction:
    """One vector over all trainable weights, in parameter-shaped pieces.

    Sums, differences and multiples run through ``torch._foreach_*``; the inner product ``a @ b`` is accumulated in at
    least float32 within a piece and in float64 across pieces, where the device has it. Nothing waits for the device.

    Args:
        pieces: One tensor for each trainable parameter, in the parameters' order.

    Examples:
        >>> d = Direction([torch.tensor([3.0]), torch.tensor([0.0, 4.0])])
        >>> float((2 * d - d).norm())
        5.0
    """

    __slots__ = ("pieces",)

    def __init__(self, pieces: Iterable[Tensor]) -> None:
        self.pieces = list(pieces)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.pieces)

    def __len__(self) -> int:
        """Return the number of pieces."""
        return len(self.pieces)

    def __add__(self, other: Direction) -> Direction:
        return Direction(torch._foreach_add(self.pieces, other.pieces))

    def __sub__(self, other: Direction) -> Direction:
        return Direction(torch._foreach_sub(self.pieces, other.pieces))

    def __neg__(self) -> Direction:
        return Direction(torch._foreach_neg(self.pieces))

    def __mul__(self, scale: Scale) -> Direction:
        return self.clone().mul_(scale)

    __rmul__ = __mul__

    def __matmul__(self, other: Direction) -> Tensor:
        return inner_product(self.pieces, other.pieces)

    def mul_(self, scale: Scale) -> Direction:
        """Multiply in place by a number or a tensor of one element; return the direction itself."""
        if isinstance(scale, Tensor) and self.pieces:
            scale = scale.to(self.pieces[0].device, non_blocking=True)
        torch._foreach_mul_(self.pieces, scale)
        return self

    def add_(self, other: Direction) -> Direction:
        """Add ``other`` in place; return the direction itself."""
        torch._foreach_add_(self.pieces, other.pieces)
        return self

    def clone(self) -> Direction:
        """Return a copy that shares no memory with this one."""
        return Direction(piece.clone() for piece in self.pieces)

    def norm(self) -> Tensor:
        """Return the Euclidean length."""
        return (self @ self).sqrt()


def inner_product(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """Return the sum over pieces of their inner products, in float64 where the device has it."""
    if not left:
        return torch.zeros(())
    parts = [piece_product(a, b) for a, b in zip(left, right, strict=True)]
    return torch.stack([part.to(accumulator(part.device)) for part in parts]).sum()


def piece_product(left: Tensor, right: Tensor) -> Tensor:
    """Return the inner product of two pieces; sharded pieces (DTensor) give their full value."""
    left, right = widened(left), widened(right)
    full = getattr((left * right).sum(), "full_tensor", None) if hasattr(left, "full_tensor") else None
    if full is not None:
        return full()  # type: ignore[no-any-return]
    return torch.dot(left.flatten(), right.flatten())


def widened(piece: Tensor) -> Tensor:
    """Return half-precision pieces in float32, others as they are: a dot product in bf16 has two digits."""
    return piece.float() if piece.dtype in (torch.float16, torch.bfloat16) else piece


def accumulator(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on devices that lack it (Apple's)."""
    return torch.float32 if device.type == "mps" else torch.float64


def gramian(forget: Direction, retain: Direction) -> Tensor:
    """Return the 2×2 matrix of inner products [[⟨g_f,g_f⟩, ⟨g_f,g_r⟩], [⟨g_f,g_r⟩, ⟨g_r,g_r⟩]].

    Examples:
        >>> gramian(Direction([torch.tensor([1.0, 0.0])]), Direction([torch.tensor([-1.0, 2.0])])).tolist()
        [[1.0, -1.0], [-1.0, 5.0]]
    """
    both, cross = (forget @ forget, retain @ retain), forget @ retain
    return torch.stack([torch.stack([both[0], cross]), torch.stack([cross, both[1]])])
