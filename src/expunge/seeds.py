"""Generators of random numbers from a user's seed."""

from __future__ import annotations

from typing import Any

import torch

from expunge.errors import ConfigError, sanitize


def make_generator(seed: Any) -> torch.Generator:
    """Return a generator on the CPU that starts from a seed.

    Examples:
        >>> make_generator(2**70)
        Traceback (most recent call last):
        expunge.errors.ConfigError: Expected a seed, a whole number from 0 to 9223372036854775807, but found \
1180591620717411303424: choose for example 0.
    """
    is_scalar = hasattr(seed, "__index__") and getattr(seed, "ndim", 0) == 0  # an array has the method too
    if isinstance(seed, bool) or not is_scalar or not 0 <= int(seed) < 2**63:
        raise ConfigError(f"a seed, a whole number from 0 to {2**63 - 1}", sanitize(repr(seed)), "choose for example 0")
    return torch.Generator().manual_seed(int(seed))
