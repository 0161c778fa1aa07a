"""Student's t: quantiles on the host, the distribution function on tensors without waiting for the device."""

from __future__ import annotations

import math
from functools import cache

import torch
from scipy.special import stdtrit
from torch import Tensor

MAX_EXACT_DEGREES = 40
"""Degrees of freedom up to which the distribution function is summed exactly."""


@cache
def t_quantile(delta: float, degrees_of_freedom: int) -> float:
    """Return t_{ν, 1−δ}, which a Student variable exceeds with probability δ; infinite at ν = 0.

    Examples:
        >>> round(t_quantile(0.05, 7), 4), t_quantile(0.05, 0)
        (1.8946, inf)
    """
    return float(stdtrit(degrees_of_freedom, 1 - delta)) if degrees_of_freedom else math.inf


def t_cdf(value: Tensor, degrees_of_freedom: int) -> Tensor:
    """Return P(T_ν ≤ value), elementwise; ½ everywhere at ν = 0, where nothing is known.

    Formula: the finite trigonometric sum (Abramowitz and Stegun 26.7.3 and 26.7.4) in θ = arctan(value/√ν) up to ν =
    40; beyond, Wallace's normal approximation Φ(±(8ν + 1)/(8ν + 3) √(ν log(1 + value²/ν))), whose error is below 1e-5.

    Examples:
        >>> t_cdf(torch.tensor([0.0, 1.0, float("inf")]), 1).tolist()
        [0.5, 0.75, 1.0]
    """
    if degrees_of_freedom == 0:
        return torch.full_like(value, 0.5)
    if degrees_of_freedom > MAX_EXACT_DEGREES:
        depth = (torch.log1p(value.square() / degrees_of_freedom) * degrees_of_freedom).sqrt() * (
            (8 * degrees_of_freedom + 1) / (8 * degrees_of_freedom + 3)
        )
        normal: Tensor = torch.special.ndtr(torch.where(value.isinf(), value, depth.copysign(value)))
        return normal
    angle = torch.atan(value / math.sqrt(degrees_of_freedom))
    squared = angle.cos().square()
    odd = degrees_of_freedom % 2
    term = total = torch.ones_like(value) if degrees_of_freedom > 1 else torch.zeros_like(value)
    for power in range(2 + odd, degrees_of_freedom - 1, 2):
        term = term * squared * ((power - 1) / power)
        total = total + term
    if odd:
        return 0.5 + (angle + angle.sin() * angle.cos() * total) / math.pi
    return 0.5 + angle.sin() * total / 2
