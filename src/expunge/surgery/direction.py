"""A direction in weight space, kept as pieces of the parameters' shapes and never flattened into one vector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

Scalar = float | Tensor


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

    def __mul__(self, scale: Scalar) -> Direction:
        return self.clone().mul_(scale)

    __rmul__ = __mul__

    def __matmul__(self, other: Direction) -> Tensor:
        return inner_product(self.pieces, other.pieces)

    def mul_(self, scale: Scalar) -> Direction:
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


def inner_product(left: Sequence[Tensor], right: Iterable[Tensor]) -> Tensor:
    """Return the sum over pieces of their inner products, in float64 where the device has it.

    Of pieces that ranks have parts of the parts' products are summed first: one collective, of one number.
    """
    if not left:
        return torch.zeros(())
    if is_sharded(left[0]):
        return sum_over_ranks(local_inner_product(left, right), left[0])
    parts = [piece_inner_product(a, b) for a, b in zip(left, right, strict=True)]
    return torch.stack([part.to(accumulator_dtype(part.device)) for part in parts]).sum()


def local_inner_product(left: Sequence[Tensor], right: Iterable[Tensor]) -> Tensor:
    """Return the inner product of what this rank has of sharded pieces."""
    parts = [piece_inner_product(to_local(a), to_local(b)) for a, b in zip(left, right, strict=True)]
    return torch.stack([part.to(accumulator_dtype(part.device)) for part in parts]).sum()


def piece_inner_product(left: Tensor, right: Tensor) -> Tensor:
    """Return the inner product of two pieces; sharded pieces (DTensor) give their full value."""
    left, right = to_float32(left), to_float32(right)
    if is_sharded(left):
        return full_tensor((left * right).sum())
    if not left.is_contiguous():  # channels last, say: in the order of memory nothing has to be copied
        order = sorted(range(left.dim()), key=left.stride, reverse=True)
        left, right = left.permute(order), right.permute(order)
    return torch.dot(left.flatten(), right.flatten())


def to_float32(piece: Tensor) -> Tensor:
    """Return half-precision pieces in float32, others as they are: a dot product in bf16 has two digits."""
    return piece.float() if piece.dtype in (torch.float16, torch.bfloat16) else piece


def accumulator_dtype(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on devices that lack it (Apple's)."""
    return torch.float32 if device.type == "mps" else torch.float64


def is_sharded(piece: Tensor) -> bool:
    """Return whether ranks have parts of a piece (DTensor)."""
    return hasattr(piece, "to_local")


def to_local(piece: Tensor) -> Tensor:
    """Return what this rank has of a piece, sharing its memory; a piece that is not sharded as it is."""
    with torch.no_grad():
        return piece.to_local() if is_sharded(piece) else piece  # type: ignore[attr-defined]


def full_tensor(value: Tensor) -> Tensor:
    """Return a value that ranks have parts of whole, others as they are."""
    return value.full_tensor() if is_sharded(value) else value  # type: ignore[attr-defined]


def sum_over_ranks(value: Tensor, like: Tensor) -> Tensor:
    """Return the sum over the ranks that share a piece of what each has computed from its part."""
    # Imported where it is needed: it takes a tenth of a second.
    from torch.distributed.tensor import DTensor, Partial, Replicate

    placements = [Partial() if place.is_shard() else Replicate() for place in like.placements]  # type: ignore[attr-defined]
    return DTensor.from_local(value, like.device_mesh, placements).full_tensor()  # type: ignore[attr-defined]


def shard_like(value: Tensor, like: Tensor) -> Tensor:
    """Return this rank's part of a tensor that every rank has whole, shared out as a sharded piece is."""
    from torch.distributed.tensor import DTensor, Replicate

    replicated = [Replicate()] * like.device_mesh.ndim  # type: ignore[attr-defined]
    replicated_value = DTensor.from_local(value.to(like.device), like.device_mesh, replicated, run_check=False)  # type: ignore[attr-defined]
    # A part of what is there already: nothing is sent.
    return replicated_value.redistribute(placements=like.placements)  # type: ignore[attr-defined]


def gramian(forget: Direction, retain: Direction) -> Tensor:
    """Return the 2×2 matrix of inner products [[⟨g_f,g_f⟩, ⟨g_f,g_r⟩], [⟨g_f,g_r⟩, ⟨g_r,g_r⟩]].

    Examples:
        >>> gramian(Direction([torch.tensor([1.0, 0.0])]), Direction([torch.tensor([-1.0, 2.0])])).tolist()
        [[1.0, -1.0], [-1.0, 5.0]]
    """
    if forget.pieces and is_sharded(forget.pieces[0]):
        pairs = ((forget, forget), (retain, retain), (forget, retain))
        sums = torch.stack([local_inner_product(one.pieces, other) for one, other in pairs])
        first, second, cross = sum_over_ranks(sums, forget.pieces[0]).unbind()
        both = first, second
    else:
        both, cross = (forget @ forget, retain @ retain), forget @ retain
    return torch.stack([torch.stack([both[0], cross]), torch.stack([cross, both[1]])])
