"""The nearest direction that is safe for every retain gradient within a multiple of its standard errors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.surgery.direction import Direction, inner_product

OUTER, INNER = 24, 8
"""Steps towards λ, every other one a halving, and Newton steps towards ρ at each."""
FLOOR = 1e-12
"""ρ/(λκ), in units of the largest e², below which it counts as 0."""

Pieces = list[Tensor]


@dataclass(frozen=True)
class Cone:
    """The problem min ½‖u − g‖² subject to ⟨u, x⟩ − κ‖e ⊙ u‖ ≥ −ε, scaled so that its numbers are near 1.

    Formula: u(λ) = ν c/(ν + e²) with c = g + λx and ν = ρ/(λκ), ρ = ‖e ⊙ u‖: another writing of (g + λx)/(1 + λκe²/ρ).
    With y = e c/(ν + e²), e ⊙ u = νy, so ρ is right where ‖y‖ = κλ. What u(λ) lacks to the cone falls with λ.

    Args:
        g: The forget gradient, of length 1.
        x: Mean of the retain gradient.
        e: Its standard errors, at most about 1.
        squares: e².
        kappa: κ > 0.
        tolerance: ε.
    """

    g: Pieces
    x: Pieces
    e: Pieces
    squares: Pieces
    kappa: float
    tolerance: Tensor

    def centre(self, multiplier: Tensor) -> Pieces:
        """Return c = g + λx."""
        centre: Pieces = torch._foreach_mul(self.x, multiplier)
        torch._foreach_add_(centre, self.g)
        return centre

    def lacking(self, multiplier: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
        """Return κ‖e ⊙ u‖ − ⟨u, x⟩ − ε at u(λ), and ν, which is looked for from a first guess.

        Newton's steps are those on 1/‖y‖ − 1/(κλ), which is concave and nearly straight in ν: from the second on they rise.
        """
        centre = self.centre(multiplier)
        pull = torch._foreach_mul(centre, self.e)
        for _ in range(INNER):
            weights = reciprocals(self.squares, ratio)
            y = torch._foreach_mul(pull, weights)
            length = norm(y)
            torch._foreach_mul_(y, torch._foreach_sqrt(weights))
            bend = norm(y) ** 2
            risen = ratio + (length / (self.kappa * multiplier) - 1) * length**2 / bend
            ratio = torch.where(bend > 0, risen, ratio).clamp(min=FLOOR)
        weights = reciprocals(self.squares, ratio)
        torch._foreach_mul_(centre, weights)
        torch._foreach_mul_(pull, weights)
        return ratio * (self.kappa * norm(pull) - inner_product(centre, self.x)) - self.tolerance, ratio

    def direction(self, multiplier: Tensor, ratio: Tensor) -> Direction:
        """Return u(λ); where ρ vanishes it is 0 wherever e is not."""
        shrunk = torch.where(ratio > 2 * FLOOR, ratio, 0.0)
        kept = [torch.where(square == 0, 1.0, shrunk / (shrunk + square)).to(square) for square in self.squares]
        centre = self.centre(multiplier)
        torch._foreach_mul_(centre, kept)
        return Direction(centre)


def nearest(
    forget: Direction, mean: Pieces, error: Pieces, kappa: float, tolerance: Tensor
) -> tuple[Direction, Tensor]:
    """Return the nearest direction to g_f with ⟨u, x̄⟩ − κ‖e ⊙ u‖ ≥ −ε, and its multiplier λ.

    Args:
        forget: g_f; its memory is used.
        mean: x̄, pieces; their memory is used.
        error: e ≥ 0, pieces; their memory is used.
        kappa: κ > 0.
        tolerance: ε ≥ 0, a tensor of one element.

    Examples:
        >>> g, x, e = ([torch.tensor(v)] for v in ([1.0, -1.0], [0.0, 1.0], [0.0, 1.0]))
        >>> nearest(Direction(g), x, e, 1.0, torch.tensor(0.0))[0].pieces[0].tolist()
        [1.0, 0.0]
    """
    length, width = unless_zero(forget.norm()), unless_zero(torch.stack([p.max() for p in error]).max().double())
    width = width + 1e-8 * norm(mean)
    forget.mul_(1 / length)
    for pieces in (mean, error):
        Direction(pieces).mul_(1 / width)
    cone = Cone(
        forget.pieces, mean, error, torch._foreach_mul(error, error), kappa, tolerance.to(length) / (length * width)
    )
    multiplier, ratio = solved(cone)
    idle = kappa * norm(torch._foreach_mul(cone.e, cone.g)) - inner_product(cone.g, cone.x) <= cone.tolerance
    chosen = cone.direction(multiplier, ratio).pieces
    pieces = [torch.where(idle, g, u) for g, u in zip(cone.g, chosen, strict=True)]
    return Direction(pieces).mul_(length), torch.where(idle, 0.0, multiplier * length / width)


def solved(cone: Cone) -> tuple[Tensor, Tensor]:
    """Return the least λ at which u(λ) is in the cone, and its ν.

    λ = λ₀ s/(1 − s) with s in (0, 1); what is lacking, times 1 − s, is bounded, and its root is enclosed by halving and by
    the secant in turn. The end inside the cone is returned.
    """
    unit = 1 / (norm(cone.x) + cone.kappa)
    at = lambda s: unit * s / (1 - s)  # noqa: E731
    low, high = unit.new_full((), 1e-9), unit.new_full((), 1 - 1e-9)
    above, ratio = cone.lacking(at(low), unit.new_full((), 1.0))
    below, kept = cone.lacking(at(high), unit.new_full((), 1.0))
    above, below = above * (1 - low), below * (1 - high)
    for index in range(OUTER):
        secant = (low * below - high * above) / (below - above)
        inside = (above > 0) & (below < 0)
        middle = torch.where(inside, secant, (low + high) / 2) if index % 2 else (low + high) / 2
        found, ratio = cone.lacking(at(middle), ratio)
        found = found * (1 - middle)
        safe = found <= 0
        low, above = torch.where(safe, low, middle), torch.where(safe, above, found)
        high, below, kept = (torch.where(safe, n, o) for n, o in ((middle, high), (found, below), (ratio, kept)))
    return at(high), kept


def reciprocals(squares: Pieces, ratio: Tensor) -> Pieces:
    """Return 1/(ν + e²)."""
    found: Pieces = torch._foreach_add(squares, ratio)
    torch._foreach_reciprocal_(found)
    return found


def norm(pieces: Pieces) -> Tensor:
    """Return the Euclidean length over all pieces."""
    return inner_product(pieces, pieces).sqrt()


def unless_zero(value: Tensor) -> Tensor:
    """Return a number, 1 in place of 0."""
    return torch.where(value == 0, 1.0, value)
