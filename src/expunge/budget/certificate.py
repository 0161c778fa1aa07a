"""The utility certificate: an upper bound on the drop of accuracy, from examples that nothing was chosen by."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from expunge.errors import ConfigError, DataError
from expunge.metrics import clopper_pearson

CertificateKind = Literal["accuracy", "bounded mean", "mean", "whole set"]
"""Of what a certificate speaks: accuracy, the mean of values of known range, a mean of any values, a whole set."""
EXACT_KINDS: frozenset[CertificateKind] = frozenset({"accuracy", "bounded mean"})
"""Those whose bound is missed with probability δ at most, however few examples there are and whatever they are."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What one opening of the certify split says of how much worse a model is on fresh examples.

    With probability at least 1 − δ over the draw of the examples, the drop on fresh data like these is at most
    ``bound``; with about that probability where the certificate is not exact.

    Args:
        kind: ``accuracy``, ``bounded mean`` (betting), ``mean`` (paired bootstrap) or ``whole set`` (jackknife).
        examples: n.
        delta: δ.
        drop: The estimate: of accuracy as a share, of a loss relative to the original's, of a metric in its own unit.
        bound: On the same.
        smallest: The least drop that n examples can certify at this δ; None where there is no such number.
    """

    kind: CertificateKind
    examples: int
    delta: float
    drop: float
    bound: float
    smallest: float | None = None

    @property
    def exact(self) -> bool:
        """Whether the bound holds as it says, or only about so."""
        return self.kind in EXACT_KINDS

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self) | {"exact": self.exact}


@dataclass(frozen=True, kw_only=True)
class UtilityCertificate(Certificate):
    """The certificate of accuracy, on the drop P(lost) − P(gained).

    Its ``max_drop`` is (n₁₀ − n₀₁)/n, its ``bound`` CP_upper(n₁₀/n, δ/2) − CP_lower(n₀₁/n, δ/2), which is exact.

    Args:
        lost: Examples that the original has right and the unlearned model wrong, n₁₀.
        gained: The reverse, n₀₁.
        approximate: Tango's score bound at δ; its coverage is about 1 − δ.
    """

    kind: CertificateKind = "accuracy"
    lost: int
    gained: int
    approximate: float


def utility_certificate(before: Any, after: Any, delta: float = 0.05) -> UtilityCertificate:
    """Return the paired bound on the drop of accuracy.

    A bound on one accuracy is not a bound on a drop, and the difference of two is wasteful: most examples are right
    before and after. Both discordant shares are bounded after Clopper and Pearson (1934) at level δ/2 each, so that
    their difference has level δ by Bonferroni's inequality. The split must have had no part in any choice, and is
    opened once; over a stream of requests spend δ by ``level_of`` and take fresh examples after each opening.

    Args:
        before: Whether the original is right, ``(n,)`` bool.
        after: Whether the unlearned model is, on the same examples in the same order.
        delta: δ in (0, 1). Default .05.

    Raises:
        ConfigError: If δ is not between 0 and 1.
        DataError: If there is not one truth value each for the same examples.

    Examples:
        >>> found = utility_certificate([True] * 500, [False] * 2 + [True] * 498)
        >>> found.drop, round(found.bound, 4)
        (0.004, 0.0144)
    """
    first, second = as_bool_array(before), as_bool_array(after)
    if first.shape != second.shape:
        actual = f"{len(first)} and {len(second)}"
        raise DataError("the same examples for both models", actual, "evaluate both on the certify split")
    lost, gained = int((first & ~second).sum()), int((second & ~first).sum())
    return certificate_from_counts(len(first), lost, gained, delta)


def certificate_from_counts(examples: int, lost: int, gained: int, delta: float = 0.05) -> UtilityCertificate:
    """Return the certificate from the two discordant counts.

    Raises:
        ConfigError: If δ is not between 0 and 1.
        DataError: If the counts do not fit.
    """
    level = validate_level(delta)
    if examples < 1 or min(lost, gained) < 0 or lost + gained > examples:
        actual = f"{lost:,} lost and {gained:,} gained of {examples:,}"
        raise DataError("counts that fit at least one example", actual, "count over the same examples")
    return UtilityCertificate(
        examples=examples,
        lost=lost,
        gained=gained,
        delta=level,
        drop=(lost - gained) / examples,
        bound=clopper_pearson_bound(lost, gained, examples, level),
        approximate=tango_bound(lost, gained, examples, level),
        smallest=min_accuracy_drop(examples, level),
    )


def clopper_pearson_bound(lost: int, gained: int, examples: int, delta: float) -> float:
    """Return CP_upper(n₁₀/n, δ/2) − CP_lower(n₀₁/n, δ/2)."""
    upper = clopper_pearson(lost, examples, 1 - delta).high
    return upper - clopper_pearson(gained, examples, 1 - delta).low


def min_accuracy_drop(examples: int, delta: float = 0.05) -> float:
    """Return the least bound that n examples can give, 1 − (δ/2)^(1/n): that of no example lost and none gained.

    Gained examples lower the bound further, but nobody can plan for them.

    Examples:
        >>> round(min_accuracy_drop(500), 4)
        0.0074
    """
    return float(-np.expm1(np.log(validate_level(delta) / 2) / examples))


def tango_bound(lost: int, gained: int, examples: int, delta: float) -> float:
    """Return the upper end of Tango's score interval for the difference of paired proportions, one-sided.

    Tango (1998), "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design". The bound is the Δ at which (n₁₀ − n₀₁ − nΔ)/√(n(2q + Δ(1 − Δ))) = −z_{1−δ}, q the maximum likelihood
    estimate of P(gained) where P(lost) = P(gained) + Δ. Its coverage is approximate: misses may exceed δ.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    quantile = float(norm.ppf(1 - delta))

    def excess(drop: float) -> float:
        spread = examples * (2 * solve_constrained_mle(lost, gained, examples, drop) + drop * (1 - drop))
        return lost - gained - examples * drop + quantile * float(np.sqrt(max(spread, 0.0)))

    estimate = (lost - gained) / examples
    # At n₁₀ = n₀₁ = 0 the estimate is a root of its own; the bound is the one above it.
    low = estimate + 1e-9
    if low >= 1.0 or excess(1.0) >= 0:
        return 1.0
    return float(brentq(excess, low, 1.0, xtol=1e-12)) if excess(low) > 0 else estimate


def solve_constrained_mle(lost: int, gained: int, examples: int, drop: float) -> float:
    """Return the maximum likelihood estimate of P(gained) where P(lost) − P(gained) is given."""
    square = 2 * examples
    middle = -lost - gained + (2 * examples - lost + gained) * drop
    last = -gained * drop * (1 - drop)
    root = float(np.sqrt(max(middle**2 - 4 * square * last, 0.0)))
    return (root - middle) / (2 * square)


def as_bool_array(values: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return a non-empty row of truth values."""
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0 or array.dtype != np.bool_:
        actual = f"shape {array.shape} of {array.dtype}"
        raise DataError("one truth value for each example", actual, "pass prediction == label")
    return array


def validate_level(delta: float) -> float:
    """Return δ."""
    if not 0 < delta < 1:
        raise ConfigError("0 < delta < 1", f"{delta}", "use .05 for a confidence of 95 %")
    return float(delta)
