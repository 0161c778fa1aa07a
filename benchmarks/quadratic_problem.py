"""A quadratic unlearning problem whose solution, and how fast each surgery reaches it, follow from linear algebra.

L_f = f + ½(θ − a)ᵀA(θ − a) and L_r = r + ½θᵀBθ. Nothing here runs a surgery: limits, rates, leaks and floors are
computed from A, B and a alone, by NumPy and SciPy, so that ``quadratic.py`` has something independent to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.linalg import null_space, solve_discrete_lyapunov
from scipy.optimize import brentq

Array = NDArray[np.float64]
Loss = Callable[[Sequence[torch.Tensor]], torch.Tensor]
SIZE = 8
FLOOR = 0.1
"""The least value of either loss; logarithms need it."""
MULTIPLIER = 2.0
"""λ* of the constrained problem without tolerance."""


@dataclass(frozen=True)
class Problem:
    """Both losses, and where unlearning starts.

    Args:
        A: Hessian of L_f, (n, n).
        B: Hessian of L_r, (n, n).
        a: Minimum of L_f; that of L_r is 0.
        start: θ₀.
    """

    A: Array
    B: Array
    a: Array
    start: Array

    def forget(self, theta: Array) -> float:
        """Return L_f."""
        return FLOOR + 0.5 * float((theta - self.a) @ self.A @ (theta - self.a))

    def retain(self, theta: Array) -> float:
        """Return L_r."""
        return FLOOR + 0.5 * float(theta @ self.B @ theta)

    def forget_slope(self, theta: Array) -> Array:
        """Return g_f."""
        return self.A @ (theta - self.a)

    def retain_slope(self, theta: Array) -> Array:
        """Return g_r."""
        return self.B @ theta

    def rise(self, theta: Array) -> float:
        """Return L_r(θ) − L_r(θ₀)."""
        return self.retain(theta) - self.retain(self.start)

    def stationary(self, multiplier: float) -> Array:
        """Return θ with g_f + λ g_r = 0, the point of the Pareto front that belongs to λ."""
        return np.linalg.solve(self.A + multiplier * self.B, self.A @ self.a)

    def kkt(self, tolerance: float = 0.0) -> tuple[Array, float]:
        """Return the solution of min L_f subject to L_r ≤ L_r(θ₀) + τ, and its multiplier λ*."""
        return self.where(lambda m: self.rise(self.stationary(m)) - tolerance)

    def where(self, condition: Callable[[float], float]) -> tuple[Array, float]:
        """Return the point of the front at whose multiplier a decreasing or increasing function vanishes."""
        multiplier = float(brentq(condition, 1e-9, 1e6, xtol=1e-14, rtol=1e-14))
        return self.stationary(multiplier), multiplier

    def losses(self) -> tuple[Loss, Loss]:
        """Return both losses as functions of a list of one float64 tensor."""
        matrices = torch.tensor(self.A), torch.tensor(self.B)
        centre = torch.tensor(self.a)

        def forget(pieces: Sequence[torch.Tensor]) -> torch.Tensor:
            apart = pieces[0] - centre
            return FLOOR + 0.5 * (apart @ (matrices[0] @ apart))

        def retain(pieces: Sequence[torch.Tensor]) -> torch.Tensor:
            return FLOOR + 0.5 * (pieces[0] @ (matrices[1] @ pieces[0]))

        return forget, retain


def problem(condition: float, seed: int = 0) -> Problem:
    """Return the problem with Hessians of that condition number, eigenvalues evenly spread in the logarithm.

    θ₀ lies on the level of L_r through the solution, so that λ* = 2 at τ = 0.
    """
    generator = np.random.default_rng(seed)
    spectrum = np.diag(np.geomspace(1 / condition, 1.0, SIZE))
    turn = np.linalg.qr(generator.normal(size=(SIZE, SIZE)))[0]
    A, B = spectrum, turn @ spectrum @ turn.T
    a = generator.normal(size=SIZE)
    a *= 2 / np.linalg.norm(a)
    made = Problem(A, B, a, np.zeros(SIZE))
    solution = made.stationary(MULTIPLIER)
    aside = generator.normal(size=SIZE)
    start = solution + 0.5 * np.linalg.norm(solution) * aside / np.linalg.norm(aside)
    start *= np.sqrt((made.retain(solution) - FLOOR) / (made.retain(start) - FLOOR))
    return Problem(A, B, a, start)


@dataclass(frozen=True)
class Limit:
    """Where a rule comes to rest: the point, the weight of g_r relative to g_f, and both slopes on the rule's scale."""

    theta: Array
    multiplier: float
    retain_slope: Array
    curvature: Array


def raw_limit(made: Problem, theta: Array, multiplier: float) -> Limit:
    """Return a limit of a rule that descends L_f + λ L_r."""
    return Limit(theta, multiplier, made.retain_slope(theta), made.A + multiplier * made.B)


def log_limit(made: Problem, theta: Array, multiplier: float) -> Limit:
    """Return a limit of a rule that descends log L_f + w log L_r, where w = λ L_r/L_f."""
    (f, g_f), (r, g_r) = (made.forget(theta), made.forget_slope(theta)), (made.retain(theta), made.retain_slope(theta))
    weight = multiplier * r / f
    curvature = made.A / f - np.outer(g_f, g_f) / f**2 + weight * (made.B / r - np.outer(g_r, g_r) / r**2)
    return Limit(theta, multiplier, g_r / r, curvature)


def explicit_limit(made: Problem, tolerance: float = 0.0) -> Limit:
    """Return the solution itself: the limit of explicit surgery, but for what its finite steps let L_r rise."""
    return raw_limit(made, *made.kkt(tolerance))


def implicit_limit(made: Problem, rate: float, dual_rate: float, start: float, budget: float = 0.0) -> Limit:
    """Return where L_r(θ) − L_r(θ₀) = τ + (η/β)(λ − λ₀): the sum of all δ is what the multiplier has moved by.

    Args:
        made: The problem.
        rate: η.
        dual_rate: β.
        start: λ₀; what the projection on λ ≥ 0 has cut off counts as part of it.
        budget: τ = ηεT.
    """
    return raw_limit(
        made, *made.where(lambda m: made.rise(made.stationary(m)) - budget - rate / dual_rate * (m - start))
    )


def log_implicit_limit(made: Problem, rate: float, dual_rate: float, start: float) -> Limit:
    """Return the same for the log form, whose δ is the change of log L_r and whose w is λ L_r/L_f."""

    def gap(multiplier: float) -> float:
        theta = made.stationary(multiplier)
        weight = multiplier * made.retain(theta) / made.forget(theta)
        return float(np.log(made.retain(theta) / made.retain(made.start))) - rate / dual_rate * (weight - start)

    return log_limit(made, *made.where(gap))


def published_limits(made: Problem, weight: float) -> list[Limit]:
    """Return where the released form can rest: w = error/γ, wherever L_r started; there may be several such points."""

    def gap(multiplier: float) -> float:
        return log_weight(made, multiplier) - weight

    grid = np.geomspace(1e-4, 1e4, 2000)
    signs = np.sign([gap(m) for m in grid])
    roots = [float(brentq(gap, grid[i], grid[i + 1])) for i in np.nonzero(signs[:-1] != signs[1:])[0]]
    limits = [log_limit(made, made.stationary(m), m) for m in roots]
    return [limit for limit in limits if np.linalg.eigvalsh(limit.curvature).min() > 0]


def log_weight(made: Problem, multiplier: float) -> float:
    """Return w = λ L_r/L_f at the point of the front that belongs to λ."""
    theta = made.stationary(multiplier)
    return multiplier * made.retain(theta) / made.forget(theta)


def explicit_factor(limit: Limit, rate: float) -> float:
    """Return by what the KKT gap of explicit surgery shrinks per update: 1 − η·(least eigenvalue of PHP).

    P projects on the tangent of the level of L_r; along the normal nothing moves, to first order.
    """
    tangent = null_space(limit.retain_slope[None, :])
    return float(np.abs(1 - rate * np.linalg.eigvalsh(tangent.T @ limit.curvature @ tangent)).max())


def implicit_matrix(limit: Limit, rate: float, dual_rate: float) -> Array:
    """Return the linearised iteration on (θ, λ): θ⁺ = θ − η(Hθ + λg), λ⁺ = λ + (β/η) gᵀ(θ⁺ − θ)."""
    H, g = limit.curvature, limit.retain_slope[:, None]
    above = np.hstack([np.eye(len(H)) - rate * H, -rate * g])
    below = np.hstack([-dual_rate * g.T @ H, 1 - dual_rate * g.T @ g])
    return np.vstack([above, below])


def implicit_factor(limit: Limit, rate: float, dual_rate: float) -> float:
    """Return the largest eigenvalue in size but one: the eigenvalue 1 is the conserved quantity λ − (β/η) L_r."""
    found = np.linalg.eigvals(implicit_matrix(limit, rate, dual_rate))
    return float(np.delete(np.abs(found), np.abs(found - 1).argmin()).max())


def plain_factor(limit: Limit, rate: float) -> float:
    """Return the factor of gradient descent on the rule's own sum with its multiplier held still."""
    return float(np.abs(1 - rate * np.linalg.eigvalsh(limit.curvature)).max())


def decayed_factor(made: Problem, limit: Limit, weight: Callable[[float], float], decay: float) -> float:
    """Return the factor 1 − γ/|d log L_r/dw| that an L2 decay γ leaves the dual at best, however large its rate.

    A move of w is answered by the fall of log L_r that it causes, which opposes it: Δw ≥ −(γ/|d log L_r/dw|)(w − w*).
    """
    low, high = limit.multiplier * (1 - 1e-5), limit.multiplier * (1 + 1e-5)
    fall = np.log(made.retain(made.stationary(low)) / made.retain(made.stationary(high)))
    return float(1 - decay * (weight(high) - weight(low)) / fall)


def explicit_rise(made: Problem, rate: float) -> float:
    """Return, to first order in η, by how much finite steps along the tangent raise L_r: ½η ∫ dᵀBd dt.

    The integral runs along the flow of explicit surgery, θ' = −d(θ), from θ₀ to its rest.
    """

    def flow(_: float, state: Array) -> Array:
        d = decision(made, state[:-1])
        return np.append(-d, 0.5 * rate * d @ made.B @ d)

    slowest = np.linalg.eigvalsh(made.A).min()
    found = solve_ivp(flow, (0, 40 / slowest), np.append(made.start, 0.0), rtol=1e-9, atol=1e-12, method="LSODA")
    return float(found.y[-1, -1])


def decision(made: Problem, theta: Array) -> Array:
    """Return d of explicit surgery without tolerance.

    Raises:
        ValueError: If there is no conflict: the problem was to have one everywhere on the way.
    """
    g_f, g_r = made.forget_slope(theta), made.retain_slope(theta)
    multiplier = -(g_f @ g_r) / (g_r @ g_r)
    if multiplier < 0:
        raise ValueError("no conflict on the way")
    return g_f + multiplier * g_r


def leak(limit: Limit, made: Problem, rate: float, noise: float, kind: str, dual_rate: float = 0.0) -> float:
    """Return the expected rise of L_r per update near the limit, with gradients whose noise has variance σ² each way.

    Explicit surgery keeps its bound for the noisy retain gradient, which it has itself turned to: E⟨g_r, d⟩ is
    −λσ²(n − 1), and curvature adds ½η² tr(B Cov d). The implicit dual, measuring on its own batch, is flattered by
    λσ²n and holds the sum of what it measures, less (η/β) times what λ itself falls by along the front. On a fresh
    batch the measurement is right on average.
    """
    free, size = null_space(limit.retain_slope[None, :]), len(limit.theta)
    if kind == "explicit":
        spread = noise**2 * (1 + limit.multiplier**2)
        curved = 0.5 * rate**2 * spread * float(np.trace(free.T @ made.B @ free))
        return rate * limit.multiplier * noise**2 * (size - 1) + curved
    if kind == "fresh batch":
        return 0.0
    near = limit.multiplier * (1 + 1e-5)
    falls = (near - limit.multiplier) / (made.retain(made.stationary(near)) - made.retain(limit.theta))
    return rate * limit.multiplier * noise**2 * size / (1 - rate / dual_rate * falls)


def floor(limit: Limit, rate: float, dual_rate: float, noise: float) -> float:
    """Return E‖g_f + λg_r‖² of implicit surgery on fresh batches, from a discrete Lyapunov equation.

    The gap r follows r⁺ = (1 − K) r − K ξ − β g ξ'ᵀξ with K = ηH + β g gᵀ, ξ the noise of the update's gradients and ξ'
    that of the fresh batch.
    """
    g = limit.retain_slope
    K = rate * limit.curvature + dual_rate * np.outer(g, g)
    spread = noise**2 * (1 + limit.multiplier**2)
    drive = spread * K @ K.T + dual_rate**2 * len(g) * noise**2 * spread * np.outer(g, g)
    return float(np.trace(solve_discrete_lyapunov(np.eye(len(g)) - K, drive)))


def explicit_floor(limit: Limit, rate: float, noise: float) -> float:
    """Return E‖P(g_f + λg_r)‖² of explicit surgery, along the tangent."""
    free = null_space(limit.retain_slope[None, :])
    K = rate * free.T @ limit.curvature @ free
    spread = noise**2 * (1 + limit.multiplier**2)
    return float(np.trace(solve_discrete_lyapunov(np.eye(len(K)) - K, spread * K @ K.T)))
