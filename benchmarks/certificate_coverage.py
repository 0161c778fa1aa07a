"""How often utility certificates are wrong: a simulation of their bounds in each unit, and of a stream of requests.

Run: python benchmarks/certificate_coverage.py     (three minutes on one thread, no data)

Writes docs/results/certificate-coverage.json. A miss is a bound below the true drop.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from coverage_of_means import means
from scipy.stats import binomtest, multinomial

from expunge.budget import certificate_from_counts, min_accuracy_drop, spend_alpha

RESULT = Path(__file__).parents[1] / "docs" / "results" / "certificate-coverage.json"
DELTA = 0.05
SIZES = (100, 500, 2000)
SCENARIOS = ((0.003, 0.0), (0.01, 0.0), (0.01, 0.01), (0.03, 0.005), (0.03, 0.03), (0.1, 0.05))
"""True shares of lost and of gained examples."""
REQUESTS = 10
RUNS_OF_MEANS = 1_000


@cache
def bounds(examples: int, lost: int, gained: int, delta: float) -> tuple[float, float]:
    """Return the exact and the approximate bound."""
    found = certificate_from_counts(examples, lost, gained, delta)
    return found.bound, found.approximate


def exact_misses(examples: int, lost: float, gained: float, delta: float) -> float:
    """Return the probability that the exact bound lies below the drop, summed over all outcomes: for few examples."""
    pairs = [(i, j) for i in range(examples + 1) for j in range(examples + 1 - i)]
    missed = [(i, j, examples - i - j) for i, j in pairs if bounds(examples, i, j, delta)[0] < lost - gained]
    return float(multinomial.pmf(missed, examples, (lost, gained, 1 - lost - gained)).sum()) if missed else 0.0


def drawn(generator: np.random.Generator, examples: int, rates: tuple[float, float], runs: int) -> Any:
    """Return counts of lost and gained examples, (runs, 2)."""
    return generator.multinomial(examples, (*rates, 1 - sum(rates)), size=runs)[:, :2]


def row(generator: np.random.Generator, examples: int, rates: tuple[float, float], runs: int) -> dict[str, Any]:
    """Return one scenario: how often each bound missed, and how far above the drop the exact one lies."""
    found = np.array([bounds(examples, int(i), int(j), DELTA) for i, j in drawn(generator, examples, rates, runs)])
    drop = rates[0] - rates[1]
    misses = [int((found[:, k] < drop).sum()) for k in range(2)]
    return {
        "examples": examples,
        "lost": rates[0],
        "gained": rates[1],
        "runs": runs,
        "misses": misses[0],
        "p_value": above(misses[0], runs),
        "approximate_misses": misses[1],
        "approximate_p_value": above(misses[1], runs),
        "bound": float(found[:, 0].mean()),
        "approximate_bound": float(found[:, 1].mean()),
    }


def above(misses: int, runs: int) -> float:
    """Return how likely so many misses are, or more, if their rate is δ."""
    return float(binomtest(misses, runs, DELTA, alternative="greater").pvalue)


def stream(generator: np.random.Generator, runs: int) -> dict[str, Any]:
    """Return how often at least one of ten certificates with δ_k = δ/(k(k + 1)) and fresh examples each was wrong."""
    examples, rates = 500, (0.03, 0.005)
    wrong = np.zeros(runs, dtype=bool)
    for opening in range(1, REQUESTS + 1):
        level = spend_alpha(opening, DELTA)
        counts = drawn(generator, examples, rates, runs)
        wrong |= np.array([bounds(examples, int(i), int(j), level)[0] < rates[0] - rates[1] for i, j in counts])
    misses = int(wrong.sum())
    setting = {"requests": REQUESTS, "examples": examples, "lost": rates[0], "gained": rates[1]}
    return {**setting, "runs": runs, "misses": misses, "p_value": above(misses, runs)}


def study(runs: int, sizes: tuple[int, ...] = SIZES, seed: int = 0) -> dict[str, Any]:
    """Return the whole study."""
    generator = np.random.default_rng(seed)
    rows = [row(generator, examples, rates, runs) for examples in sizes for rates in SCENARIOS]
    smallest = {str(n): min_accuracy_drop(n, DELTA) for n in (100, 200, 500, 1000, 2000, 5000, 10000)}
    found = {"study": "certificate-coverage", "delta": DELTA, "seed": seed, "rows": rows}
    return {**found, "stream": stream(generator, runs), "smallest": smallest}


def main() -> None:
    """Simulate and write."""
    document = study(runs=10_000) | means(RUNS_OF_MEANS, SIZES)
    for each in document["rows"]:
        print(each)
    RESULT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
