"""The nearest direction that is safe for every retain gradient within a multiple of its standard errors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.surgery.direction import Direction, full_tensor, inner_product

MULTIPLIER_STEPS, NEWTON_STEPS = 40, 6
"""Steps towards λ, every other one a halving, and Newton steps towards ρ at each."""
MULTIPLIER_RANGE = 1e9
"""λ is looked for within this factor of its natural unit 1/(‖x‖ + κ)."""
MIN_RATIO = 1e-12
"""ρ/(λκ), in units of the largest e², below which it counts as 0."""

Pieces = list[Tensor]


@dataclass(frozen=True)
class ConeProblem:
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

    def center(self, multiplier: Tensor) -> Pieces:
        """Return c = g + λx."""
        # A weight without dimensions would take the type of λ.
        return [(g + multiplier * x).to(g) for g, x in zip(self.g, self.x, strict=True)]

    def violation(self, multiplier: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
        """Return κ‖e ⊙ u‖ − ⟨u, x⟩ − ε at u(λ), and ν, which is looked for from a first guess.

        Newton's steps are those on 1/‖y‖ − 1/(κλ), concave and nearly straight in ν: they rise from below. Where one
        from above falls short of a known lower bound, the geometric mean of both bounds takes its place.
        """
        shifted = self.center(multiplier)
        pull = list(torch._foreach_mul(shifted, self.e))
        # ‖y‖ ≤ ‖e c‖/ν bounds ν from above.
        low, high = ratio.new_full((), MIN_RATIO), (norm(pull) / (self.kappa * multiplier)).clamp(min=MIN_RATIO)
        ratio = torch.minimum(ratio, high)
        for _ in range(NEWTON_STEPS):
            weights = reciprocals(self.squares, ratio)
            y = list(torch._foreach_mul(pull, weights))
            squared = inner_product(y, y)
            torch._foreach_mul_(weights, y)
            ascent = (squared.sqrt() / (self.kappa * multiplier) - 1) * squared
            change = ascent / one_if_zero(inner_product(y, weights))
            low, high = torch.where(change > 0, ratio, low), torch.where(change > 0, high, ratio)
            ratio = torch.where(ratio + change > low, ratio + change, (low * high).sqrt())
        weights = reciprocals(self.squares, ratio)
        torch._foreach_mul_(shifted, weights)
        torch._foreach_mul_(pull, weights)
        return ratio * (self.kappa * norm(pull) - inner_product(shifted, self.x)) - self.tolerance, ratio

    def direction(self, multiplier: Tensor, ratio: Tensor) -> Direction:
        """Return u(λ); where ρ vanishes it is 0 wherever e is not."""
        shrunk = torch.where(ratio > 2 * MIN_RATIO, ratio, 0.0)
        factors = [torch.where(square == 0, 1.0, shrunk / (shrunk + square)).to(square) for square in self.squares]
        pieces = self.center(multiplier)
        torch._foreach_mul_(pieces, factors)
        return Direction(pieces)


def project_on_cone(
    forget: Direction, mean: Pieces, error: Pieces, kappa: float, tolerance: Tensor
) -> tuple[Direction, Tensor]:
    """Return the nearest direction to g_f with ⟨u, x̄⟩ − κ‖e ⊙ u‖ ≥ −ε, and its multiplier λ.

    Examples:
        >>> g, x, e = ([torch.tensor(v)] for v in ([1.0, -1.0], [0.0, 1.0], [0.0, 1.0]))
        >>> project_on_cone(Direction(g), x, e, 1.0, torch.tensor(0.0))[0].pieces[0].round(decimals=5).tolist()
        [1.0, 0.0]
    """
    length, width = (
        one_if_zero(forget.norm()),
        one_if_zero(torch.stack([full_tensor(p.max()) for p in error if p.numel()]).max().double()),
    )
    width = width + 1e-8 * norm(mean)
    forget.mul_(1 / length)
    for pieces in (mean, error):
        Direction(pieces).mul_(1 / width)
    cone = ConeProblem(
        forget.pieces,
        mean,
        error,
        list(torch._foreach_mul(error, error)),
        kappa,
        tolerance.to(length) / (length * width),
    )
    multiplier, ratio = solve_cone(cone)
    idle = kappa * norm(list(torch._foreach_mul(cone.e, cone.g))) - inner_product(cone.g, cone.x) <= cone.tolerance
    chosen = cone.direction(multiplier, ratio).pieces
    pieces = [torch.where(idle, g, u) for g, u in zip(cone.g, chosen, strict=True)]
    return Direction(pieces).mul_(length), torch.where(idle, 0.0, multiplier * length / width)


def solve_cone(cone: ConeProblem) -> tuple[Tensor, Tensor]:
    """Return the least λ at which u(λ) is in the cone, and its ν.

    The root is enclosed by geometric means and by secants in turn; the secant is in s = λ/(λ₀ + λ), where what is
    lacking, times 1 − s, is bounded. The end inside the cone is returned.
    """
    unit = 1 / (norm(cone.x) + cone.kappa)

    def measure(multiplier: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        lacking, ratio = cone.violation(multiplier, ratio)
        return multiplier / (unit + multiplier), lacking * unit / (unit + multiplier), ratio

    low, high = unit / MULTIPLIER_RANGE, unit * MULTIPLIER_RANGE
    (s, above, _), (t, below, best_ratio) = (measure(end, torch.ones_like(unit)) for end in (low, high))
    ratio = best_ratio
    for index in range(MULTIPLIER_STEPS):
        middle = (low * high).sqrt()
        if index % 2:
            cut = (s * below - t * above) / (below - above)
            secant = unit * cut / (1 - cut)
            middle = torch.where((secant > low) & (secant < high), secant, middle)
        position, excess, ratio = measure(middle, ratio)
        safe = excess <= 0
        low, s, above = (torch.where(safe, *pair) for pair in ((low, middle), (s, position), (above, excess)))
        high, t, below, best_ratio = (
            torch.where(safe, *pair) for pair in ((middle, high), (position, t), (excess, below), (ratio, best_ratio))
        )
    return high, best_ratio


def reciprocals(squares: Pieces, ratio: Tensor) -> Pieces:
    sums = [square + ratio for square in squares]
    torch._foreach_reciprocal_(sums)
    return sums


def norm(pieces: Pieces) -> Tensor:
    """Return the Euclidean length over all pieces."""
    return inner_product(pieces, pieces).sqrt()


def one_if_zero(value: Tensor) -> Tensor:
    """Return a number, 1 in place of 0."""
    return torch.where(value == 0, 1.0, value)
