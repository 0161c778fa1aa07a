"""Student's t: quantiles on the host, the distribution function on tensors without waiting for the device."""

from __future__ import annotations

import math
from functools import cache

import torch
from scipy.special import stdtrit
from torch import Tensor

EXACT = 40
"""Degrees of freedom up to which the distribution function is summed exactly."""


@cache
def quantile(delta: float, freedom: int) -> float:
    """Return t_{ν, 1−δ}, which a Student variable exceeds with probability δ; infinite at ν = 0.

    Examples:
        >>> round(quantile(0.05, 7), 4), quantile(0.05, 0)
        (1.8946, inf)
    """
    return float(stdtrit(freedom, 1 - delta)) if freedom else math.inf


def distribution(value: Tensor, freedom: int) -> Tensor:
    """Return P(T_ν ≤ value), elementwise; ½ everywhere at ν = 0, where nothing is known.

    Formula: the finite trigonometric sum (Abramowitz and Stegun 26.7.3 and 26.7.4) in θ = arctan(value/√ν) up to ν =
    40; beyond, Wallace's normal approximation Φ(±(8ν + 1)/(8ν + 3) √(ν log(1 + value²/ν))), whose error is below 1e-5.

    Args:
        value: Any shape; ±∞ give 1 and 0.
        freedom: ν ≥ 0.

    Examples:
        >>> distribution(torch.tensor([0.0, 1.0, float("inf")]), 1).tolist()
        [0.5, 0.75, 1.0]
    """
    if freedom == 0:
        return torch.full_like(value, 0.5)
    if freedom > EXACT:
        depth = (torch.log1p(value.square() / freedom) * freedom).sqrt() * ((8 * freedom + 1) / (8 * freedom + 3))
        normal: Tensor = torch.special.ndtr(torch.where(value.isinf(), value, depth.copysign(value)))
        return normal
    angle = torch.atan(value / math.sqrt(freedom))
    squared = angle.cos().square()
    odd = freedom % 2
    term = total = torch.ones_like(value) if freedom > 1 else torch.zeros_like(value)
    for power in range(2 + odd, freedom - 1, 2):
        term = term * squared * ((power - 1) / power)
        total = total + term
    if odd:
        return 0.5 + (angle + angle.sin() * angle.cos() * total) / math.pi
    return 0.5 + angle.sin() * total / 2
