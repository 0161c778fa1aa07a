"""How often the certificates of metrics and losses are wrong. Not a script: ``certificate_coverage.py`` calls it.

Three kinds of drops whose true mean is known: of values between 0 and 1 (betting, exact), of losses (paired bootstrap,
approximate), and of the F1 score of a set (jackknife, approximate).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.stats import binomtest

from expunge.budget import bootstrap_bound, certificate_from_counts, jackknife_bound, min_mean_drop
from expunge.budget.betting import compute_betting_bounds
from expunge.budget.certification import JACKKNIFE_GROUPS

Generator = np.random.Generator
DELTA = 0.05
BLOCK = 500
RESAMPLES = 499
FLIPPED = (0.01, 0.05)
"""Shares of predictions that turn round, in the simulation of F1."""


def discordant(lost: float, gained: float) -> Callable[[Generator, Any], Any]:
    """Return drops of values that are 0 or 1."""
    return lambda generator, shape: generator.choice([1.0, -1.0, 0.0], p=[lost, gained, 1 - lost - gained], size=shape)


def scores(generator: Generator, shape: Any) -> Any:
    """Return drops of a score that all examples move a little in."""
    return 0.01 + generator.uniform(-0.1, 0.1, shape)


def rare(generator: Generator, shape: Any) -> Any:
    """Return drops that one example in a hundred has, of any size."""
    return (generator.random(shape) < 0.01) * generator.random(shape)


BOUNDED = (
    ("right or wrong, .5 % lost", 0.005, discordant(0.005, 0.0)),
    ("right or wrong, 3 % lost, .5 % gained", 0.025, discordant(0.03, 0.005)),
    ("right or wrong, 10 % lost, 5 % gained", 0.05, discordant(0.1, 0.05)),
    ("a score, all move by ±.1 about .01", 0.01, scores),
    ("a score, 1 % lose up to 1", 0.005, rare),
)


def usual_losses(generator: Generator, count: int) -> tuple[Any, Any]:
    """Return drops and losses before: both spread mildly."""
    return generator.normal(0.02, 0.1, count), generator.gamma(2, 0.15, count)


def skewed_losses(generator: Generator, count: int) -> tuple[Any, Any]:
    """Return drops in proportion to losses, of which few carry most."""
    before = np.exp(generator.normal(-2, 1.5, count))
    return before * generator.normal(0.1, 0.5, count), before


def rare_losses(generator: Generator, count: int) -> tuple[Any, Any]:
    """Return drops that one example in a hundred has, of 3 nats on average."""
    hit = generator.random(count) < 0.01
    return hit * generator.gamma(2, 1.5, count) + generator.normal(0, 0.01, count), generator.gamma(2, 0.15, count)


LOSSES = (
    ("mild", 0.02 / 0.3, usual_losses),
    ("log-normal, few carry most", 0.1, skewed_losses),
    ("1 % of the examples lose 3 nats", 0.1, rare_losses),
)


def told(name: str, examples: int, drop: float, bounds: Any) -> dict[str, Any]:
    """Return one row: how often bounds lie below the true drop, and how large they are."""
    runs, misses = len(bounds), int((np.asarray(bounds) < drop).sum())
    p_value = float(binomtest(misses, runs, DELTA, alternative="greater").pvalue)
    middle = float(np.median(bounds))
    row = {"what": name, "examples": examples, "drop": drop, "runs": runs, "misses": misses, "p_value": p_value}
    return {**row, "bound": middle}


def bounded(generator: Generator, runs: int, sizes: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Yield the rows of exact bounds; where values are 0 or 1, with Clopper and Pearson's bound beside them."""
    for examples in sizes:
        for name, drop, draw in BOUNDED:
            parts = [draw(generator, (min(BLOCK, runs - first), examples)) for first in range(0, runs, BLOCK)]
            found = np.concatenate([compute_betting_bounds(part, 1.0, DELTA) for part in parts])
            whole = bool(np.isin(parts[0], (-1, 0, 1)).all())
            pairs = [(int((row > 0).sum()), int((row < 0).sum())) for row in parts[0]] if whole else []
            counted = [certificate_from_counts(examples, *pair, DELTA).bound for pair in pairs]
            yield told(name, examples, drop, found) | {"counted": float(np.median(counted)) if counted else None}


def losses(generator: Generator, runs: int, sizes: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the paired bootstrap."""
    for examples in sizes:
        for name, rise, draw in LOSSES:
            drawn = (draw(generator, examples) for _ in range(runs))
            found = [bootstrap_bound(*both, delta=DELTA, resamples=RESAMPLES) for both in drawn]
            yield told(name, examples, rise, found)


def f1(truth: Any, said: Any, counted: Any) -> Any:
    """Return the F1 score of each row, over the examples that are counted."""
    right, wrong = (truth & said & counted).sum(1), ((truth ^ said) & counted).sum(1)
    return 2 * right / np.maximum(1, 2 * right + wrong)


def true_f1(sensitive: float, specific: float, positive: float = 0.1) -> float:
    """Return F1 of endless data."""
    right = positive * sensitive
    return 2 * right / (2 * right + positive * (1 - sensitive) + (1 - positive) * (1 - specific))


def sets(generator: Generator, runs: int, sizes: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the jackknife: F1 of a class of a tenth, before and after a share of predictions flips."""
    for examples in sizes:
        for flipped in FLIPPED:
            kept = 1 - flipped
            after = true_f1(0.9 * kept + 0.1 * flipped, 0.98 * kept + 0.02 * flipped)
            truth = generator.random((runs, examples)) < 0.1
            before = np.where(truth, generator.random(truth.shape) < 0.9, generator.random(truth.shape) < 0.02)
            now = before ^ (generator.random(truth.shape) < flipped)
            groups = [np.arange(examples) % JACKKNIFE_GROUPS != group for group in range(JACKKNIFE_GROUPS)]
            every = np.ones(examples, dtype=bool)
            whole, *without = (f1(truth, before, part) - f1(truth, now, part) for part in (every, *groups))
            left = np.stack(without, 1)
            # Without any change nothing can be said, and nothing is.
            said = [place for place in range(runs) if np.ptp(left[place])]
            found = [jackknife_bound(float(whole[place]), left[place], DELTA) for place in said]
            row = told(f"{100 * flipped:g} % of the predictions flip", examples, true_f1(0.9, 0.98) - after, found)
            yield row | {"silent": runs - len(said)}


def means(runs: int, sizes: tuple[int, ...], seed: int = 0) -> dict[str, Any]:
    """Return the three studies and what n examples can certify of a mean at all."""
    generator = np.random.default_rng(seed)
    return {
        "bounded": list(bounded(generator, runs, sizes)),
        "losses": list(losses(generator, runs, sizes)),
        "sets": list(sets(generator, runs, sizes)),
        "smallest_mean": {str(n): min_mean_drop(n, 1.0, DELTA) for n in (100, 200, 500, 1000, 2000, 5000, 10000)},
    }
