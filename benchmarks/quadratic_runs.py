"""Runs of the package's surgeries on the quadratic problem, and what is read off them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from quadratic_problem import Array, Loss, Problem

from expunge.pair import Pair, Role
from expunge.surgery import Surgery
from expunge.testing import ToyStep

RATE = 0.05


class NoisyStep(ToyStep):
    """A step on batches: a batch's loss is the loss plus ⟨ξ, θ − θ₀⟩, so that its gradient is off by ξ.

    Args:
        theta: Weights.
        losses: On the batches of the update.
        probe: The retain loss that ``loss(fresh=True)`` evaluates: on a fresh batch, as the engine does it, or on the
            update's own.
        lr: η.
    """

    def __init__(self, theta: torch.Tensor, losses: Pair[Loss], probe: Loss, lr: torch.Tensor) -> None:
        super().__init__([theta], losses)
        self.lr, self.probe = lr, probe

    def loss(self, role: Role, *, independent: bool = False) -> torch.Tensor:
        """Evaluate one loss, where asked on the fresh batch."""
        return self.probe(self.weights).detach() if independent and role == "retain" else super().loss(role)


def off(loss: Loss, by: torch.Tensor, origin: torch.Tensor) -> Loss:
    """Return a batch's loss."""
    return lambda pieces: loss(pieces) + by @ (pieces[0] - origin)


def batches(made: Problem, updates: int, noise: float, seed: int, fresh: bool) -> Iterator[tuple[Pair[Loss], Loss]]:
    """Yield for each update the losses of its batches and that of its probe."""
    losses, origin = made.losses(), torch.tensor(made.start)
    generator = torch.Generator().manual_seed(seed)
    draws = noise * torch.randn(updates, 3, len(origin), generator=generator, dtype=torch.float64)
    for forget, retain, other in draws:
        pair = Pair(off(losses[0], forget, origin), off(losses[1], retain, origin)) if noise else Pair(*losses)
        yield pair, off(losses[1], other, origin) if noise and fresh else pair.retain


@dataclass(frozen=True)
class Course:
    """What a run left, update by update: the weights before it, and λ that it used."""

    theta: Array
    multiplier: Array
    made: Problem

    def gaps(self) -> Array:
        """Return ‖g_f + λ g_r‖ of the whole data at every update."""
        lagged = zip(self.theta, self.multiplier, strict=True)
        return np.array([np.linalg.norm(self.made.forget_slope(t) + m * self.made.retain_slope(t)) for t, m in lagged])

    def rises(self) -> Array:
        """Return L_r(θ_t) − L_r(θ₀)."""
        return np.array([self.made.rise(theta) for theta in self.theta])

    def aside(self) -> Array:
        """Return ‖P g_f‖², what is left of the gap along the level of L_r."""
        squares = []
        for theta in self.theta:
            g_f, g_r = self.made.forget_slope(theta), self.made.retain_slope(theta)
            squares.append(g_f @ g_f - (g_f @ g_r) ** 2 / (g_r @ g_r))
        return np.array(squares)


def run(
    made: Problem,
    surgery: Surgery,
    updates: int,
    rate: float = RATE,
    noise: float = 0.0,
    seed: int = 0,
    fresh: bool = True,
) -> Course:
    """Return the path of a surgery from θ₀ by plain gradient steps."""
    surgery, theta = surgery.double(), torch.tensor(made.start)
    step_size = torch.tensor(rate, dtype=torch.float64)
    thetas, multipliers = [], []
    for losses, probe in batches(made, updates, noise, seed, fresh):
        step = NoisyStep(theta, losses, probe, step_size)
        surgery(step)
        thetas.append(theta.numpy())
        multipliers.append(float(surgery.relative_weight()))  # type: ignore[arg-type]
        step.descend()
        surgery.after_step(step)
        theta = step.weights[0]
    return Course(np.array(thetas), np.array(multipliers), made)


def fitted_factor(gaps: Array) -> float | None:
    """Return by what the gap shrinks per update, from a straight line through its logarithm.

    The line is fitted to the last four decades above the ten-billionth part of the first gap (above the last gap, where
    that is larger): only the slowest mode is left there, and rounding does not count yet. None where the gap does not
    fall below a thousandth of the first for good.
    """
    low = max(1e-10 * gaps[0], gaps[-1])
    if gaps[-len(gaps) // 6 :].max() > 1e-3 * gaps[0]:
        return None
    end = int(np.nonzero(gaps <= low)[0][0])
    above = np.nonzero(gaps[:end] > 1e4 * low)[0]
    part = np.arange(above.max() + 1 if len(above) else 0, end)
    return float(np.exp(np.polyfit(part, np.log(gaps[part]), 1)[0]))
