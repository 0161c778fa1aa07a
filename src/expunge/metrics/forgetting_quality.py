"""Forgetting quality of the NeurIPS 2023 challenge: how well attacks tell unlearned from retrained models, per example.

For one example, N unlearned and N retrained models give two sets of numbers. An attack decides for a number from which
set it is; FPR is the share of retrained models called unlearned, FNR the share of unlearned ones called retrained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from expunge.errors import ConfigError
from expunge.metrics.arrays import Floats, Interval, to_float_array
from expunge.metrics.bootstrap import mean_interval
from expunge.metrics.klom import validate_model_scores

DELTA = 0.01
BIN_WIDTH, LAST_BIN = 0.5, 13
"""Width of a bin of ε, and the number of the last one, which has no upper end."""
MIN_GAUSSIAN_VARIANCE = 1e-12
"""Least variance of a fitted Gaussian, so that models that all agree have a density."""


@dataclass(frozen=True)
class ForgettingQualityResult:
    """The score of a set of unlearned models, with what it has to be read beside.

    Args:
        score: Mean over examples of 2/2^bin, times both ratios; 1 is the best.
        interval: Bootstrap interval over examples, these models given. Resampling models would be wrong: models drawn
            twice make the two sets easier to tell apart.
        epsilons: ε of each example, from 0 to infinity.
        delta: δ.
        unlearned: Number of unlearned models.
        retrained: Number of retrained models.
        control: The score of other retrained models in place of the unlearned ones; None if there were none. Perfect
            unlearning scores that, not 1.
        control_models: Number of those.
    """

    score: float
    interval: Interval
    epsilons: Floats
    delta: float
    unlearned: int
    retrained: int
    control: float | None = None
    control_models: int = 0


def forgetting_quality(
    unlearned: Any,
    retrained: Any,
    *,
    targets: Any = None,
    control: Any = None,
    ratios: tuple[float, float] = (1.0, 1.0),
    delta: float = DELTA,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> ForgettingQualityResult:
    """Return the forgetting quality of unlearned models beside retrained ones, on the forget examples.

    Triantafillou et al., "Are we making progress in unlearning? Findings from the first NeurIPS unlearning competition"
    (arXiv 2406.09073): per example ε as in ``attack_epsilons``, score 2/2^bin with bins of ½ counted from 1 and 13 the
    last one, mean over examples, times RA_u/RA_r and TA_u/TA_r.

    Args:
        unlearned: Logits ``(N, examples, classes)`` or scores ``(N, examples)`` of the unlearned models.
        retrained: The same of models retrained without the examples; as many.
        targets: Labels ``(examples,)``, needed with logits.
        control: The same of as many other retrained models, to state what perfect unlearning would score.
        ratios: Retain accuracy of the unlearned models over that of the retrained ones, and the same of test accuracy.
        delta: δ, at least 0 and below 1.
        resamples: Number of bootstrap samples of the examples.
        level: Nominal coverage of the interval.
        seed: Of the resampling.

    Raises:
        ConfigError: If δ is out of range.
        DataError: If the sides do not fit.

    Examples:
        >>> same = [[0.0], [1.0], [2.0], [3.0]]
        >>> forgetting_quality(same, same).score, forgetting_quality(same, [[7.0], [8.0], [9.0], [9.5]]).score
        (1.0, 0.000244140625)

    Differences from the authors' code: thresholds lie between all neighboring values and not on a grid, which no
    scale of the scores can slip through; intervals that models fall into are found by fitted Gaussians instead of a
    search over pairs of thresholds; ratios are multiplied as the paper says.
    """
    ours, theirs = validate_model_scores(unlearned, retrained, targets)
    epsilons = attack_epsilons(ours, theirs, delta=delta)
    utility = ratios[0] * ratios[1]
    scores = bin_scores(epsilons)
    low, high = mean_interval(scores, bounds=(2.0**-12, 1.0), resamples=resamples, level=level, seed=seed)
    interval = Interval(utility * low, utility * high)
    score = utility * float(bin_scores(epsilons).mean())
    if control is None:
        return ForgettingQualityResult(score, interval, epsilons, delta, len(ours), len(theirs))
    others, _ = validate_model_scores(control, retrained, targets)
    expected = float(bin_scores(attack_epsilons(others, theirs, delta=delta)).mean())
    return ForgettingQualityResult(score, interval, epsilons, delta, len(ours), len(theirs), expected, len(others))


def bin_scores(epsilons: Any) -> Floats:
    """Return 2/2^bin of every ε: 1 below ½, ½ below 1, …, 2⁻¹² from 6 upwards.

    Args:
        epsilons: At least 0; infinite where an attack never errs.

    Examples:
        >>> bin_scores([0.0, 0.5, 7.0, float("inf")]).tolist()
        [1.0, 0.5, 0.000244140625, 0.000244140625]
    """
    bins = np.minimum(np.floor(to_float_array(epsilons, "epsilons") / BIN_WIDTH) + 1, LAST_BIN)
    return np.asarray(2.0 / 2.0**bins)


def attack_epsilons(unlearned: Any, retrained: Any, *, targets: Any = None, delta: float = DELTA) -> Floats:
    """Return the largest ε that an attack gives, for every example, ``(examples,)``.

    Attacks: every threshold, in both directions, and the larger density of two fitted Gaussians. An attack has
    ε = max(log((1 − δ − FPR)/FNR), log((1 − δ − FNR)/FPR)); with FPR = FNR = 0 it is infinite; one with exactly one of
    them 0 is discarded, as it says little but that N is small; a logarithm of what is not positive is left out; where
    nothing is left, and below 0, ε is 0.

    Args:
        unlearned: Logits ``(N, examples, classes)`` or scores ``(N, examples)``.
        retrained: The same of retrained models.
        targets: Labels ``(examples,)``, needed with logits.
        delta: δ, at least 0 and below 1.

    Raises:
        ConfigError: If δ is out of range.
        DataError: If the sides do not fit.

    Examples:
        >>> one, other = [[0.0], [1.0], [2.0], [3.0]], [[2.5], [3.5], [4.5], [5.5]]
        >>> attack_epsilons(one, other, delta=0.0).round(4).tolist()
        [1.0986]
    """
    if not 0 <= delta < 1:
        raise ConfigError("a delta of at least 0 and below 1", f"{delta}", "use 0.01")
    ours, theirs = validate_model_scores(unlearned, retrained, targets)
    false, missed = (
        np.concatenate(rows)
        for rows in zip(compute_threshold_errors(ours, theirs), compute_gaussian_errors(ours, theirs), strict=True)
    )
    epsilons = np.concatenate([compute_epsilon(false, missed, delta), compute_epsilon(1 - false, 1 - missed, delta)])
    return np.asarray(np.fmax(np.fmax.reduce(epsilons), 0.0))


def compute_threshold_errors(ours: Floats, theirs: Floats) -> tuple[Floats, Floats]:
    """Return FPR and FNR of calling unlearned what lies above each value, ``(values, examples)``; NaN within ties."""
    values = np.concatenate([ours, theirs])
    order = np.argsort(values, axis=0, kind="stable")
    of_ours, ordered = order < len(ours), np.take_along_axis(values, order, 0)
    inner = np.zeros_like(of_ours)
    inner[:-1] = ordered[1:] == ordered[:-1]
    below, others = np.cumsum(of_ours, axis=0), np.cumsum(~of_ours, axis=0)
    false, missed = (len(theirs) - others) / len(theirs), below / len(ours)
    return np.where(inner, np.nan, false), np.where(inner, np.nan, missed)


def compute_gaussian_errors(ours: Floats, theirs: Floats) -> tuple[Floats, Floats]:
    """Return FPR and FNR of calling unlearned what the unlearned models' Gaussian makes likelier, ``(1, examples)``."""
    false, missed = gaussian_lrt(theirs, ours, theirs).mean(0), 1 - gaussian_lrt(ours, ours, theirs).mean(0)
    return false[None], missed[None]


def gaussian_lrt(values: Floats, ours: Floats, theirs: Floats) -> Any:
    """Return whether the Gaussian of ``ours`` gives each value more density than that of ``theirs``."""
    return log_density(values, ours) > log_density(values, theirs)


def log_density(values: Floats, sample: Floats) -> Floats:
    """Return the logarithm of the density of a Gaussian fitted to each example, without its constant."""
    variance = np.maximum(sample.var(0), MIN_GAUSSIAN_VARIANCE)
    return np.asarray(-0.5 * (values - sample.mean(0)) ** 2 / variance - 0.5 * np.log(variance))


def compute_epsilon(false: Floats, missed: Floats, delta: float) -> Floats:
    """Return ε of attacks with these rates; NaN for those that are discarded."""
    with np.errstate(divide="ignore", invalid="ignore"):
        one = np.log((1 - delta - false) / missed)
        other = np.log((1 - delta - missed) / false)
    perfect, idle = (false == 0) & (missed == 0), (false == 0) | (missed == 0)
    return np.where(perfect, np.inf, np.where(idle, np.nan, np.fmax(one, other)))
