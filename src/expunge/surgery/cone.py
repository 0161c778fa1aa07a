"""The nearest direction that is safe for every retain gradient within a multiple of its standard errors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.surgery.direction import Direction, inner_product, whole

OUTER, INNER = 40, 6
"""Steps towards λ, every other one a halving, and Newton steps towards ρ at each."""
SPAN = 1e9
"""λ is looked for within this factor of its natural unit 1/(‖x‖ + κ)."""
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
        # A weight without dimensions would take the type of λ.
        return [(g + multiplier * x).to(g) for g, x in zip(self.g, self.x, strict=True)]

    def lacking(self, multiplier: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
        """Return κ‖e ⊙ u‖ − ⟨u, x⟩ − ε at u(λ), and ν, which is looked for from a first guess.

        Newton's steps are those on 1/‖y‖ − 1/(κλ), concave and nearly straight in ν: they rise from below. Where one
        from above falls short of a known lower bound, the geometric mean of both bounds takes its place.
        """
        centre = self.centre(multiplier)
        pull = list(torch._foreach_mul(centre, self.e))
        # ‖y‖ ≤ ‖e c‖/ν bounds ν from above.
        low, high = ratio.new_full((), FLOOR), (norm(pull) / (self.kappa * multiplier)).clamp(min=FLOOR)
        ratio = torch.minimum(ratio, high)
        for _ in range(INNER):
            weights = reciprocals(self.squares, ratio)
            y = list(torch._foreach_mul(pull, weights))
            squared = inner_product(y, y)
            torch._foreach_mul_(weights, y)
            ascent = (squared.sqrt() / (self.kappa * multiplier) - 1) * squared
            change = ascent / unless_zero(inner_product(y, weights))
            low, high = torch.where(change > 0, ratio, low), torch.where(change > 0, high, ratio)
            ratio = torch.where(ratio + change > low, ratio + change, (low * high).sqrt())
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
        >>> nearest(Direction(g), x, e, 1.0, torch.tensor(0.0))[0].pieces[0].round(decimals=5).tolist()
        [1.0, 0.0]
    """
    length, width = (
        unless_zero(forget.norm()),
        unless_zero(torch.stack([whole(p.max()) for p in error if p.numel()]).max().double()),
    )
    width = width + 1e-8 * norm(mean)
    forget.mul_(1 / length)
    for pieces in (mean, error):
        Direction(pieces).mul_(1 / width)
    cone = Cone(
        forget.pieces,
        mean,
        error,
        list(torch._foreach_mul(error, error)),
        kappa,
        tolerance.to(length) / (length * width),
    )
    multiplier, ratio = solved(cone)
    idle = kappa * norm(list(torch._foreach_mul(cone.e, cone.g))) - inner_product(cone.g, cone.x) <= cone.tolerance
    chosen = cone.direction(multiplier, ratio).pieces
    pieces = [torch.where(idle, g, u) for g, u in zip(cone.g, chosen, strict=True)]
    return Direction(pieces).mul_(length), torch.where(idle, 0.0, multiplier * length / width)


def solved(cone: Cone) -> tuple[Tensor, Tensor]:
    """Return the least λ at which u(λ) is in the cone, and its ν.

    The root is enclosed by geometric means and by secants in turn; the secant is in s = λ/(λ₀ + λ), where what is
    lacking, times 1 − s, is bounded. The end inside the cone is returned.
    """
    unit = 1 / (norm(cone.x) + cone.kappa)

    def measured(multiplier: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        lacking, ratio = cone.lacking(multiplier, ratio)
        return multiplier / (unit + multiplier), lacking * unit / (unit + multiplier), ratio

    low, high = unit / SPAN, unit * SPAN
    (s, above, _), (t, below, kept) = (measured(end, torch.ones_like(unit)) for end in (low, high))
    ratio = kept
    for index in range(OUTER):
        middle = (low * high).sqrt()
        if index % 2:
            cut = (s * below - t * above) / (below - above)
            secant = unit * cut / (1 - cut)
            middle = torch.where((secant > low) & (secant < high), secant, middle)
        place, found, ratio = measured(middle, ratio)
        safe = found <= 0
        low, s, above = (torch.where(safe, *pair) for pair in ((low, middle), (s, place), (above, found)))
        high, t, below, kept = (
            torch.where(safe, *pair) for pair in ((middle, high), (place, t), (found, below), (ratio, kept))
        )
    return high, kept


def reciprocals(squares: Pieces, ratio: Tensor) -> Pieces:
    """Return 1/(ν + e²)."""
    found = [square + ratio for square in squares]
    torch._foreach_reciprocal_(found)
    return found


def norm(pieces: Pieces) -> Tensor:
    """Return the Euclidean length over all pieces."""
    return inner_product(pieces, pieces).sqrt()


def unless_zero(value: Tensor) -> Tensor:
    """Return a number, 1 in place of 0."""
    return torch.where(value == 0, 1.0, value)
