"""Population attacks: how well one number per example tells those trained on from those never seen.

A score is oriented so that larger means more like a member: confidence as it is, loss and entropies with a minus.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.errors import ConfigError
from expunge.metrics.arrays import Floats, Integers, validate_scores
from expunge.metrics.stratified import effective_size

MIN_FALSE_POSITIVES = 10
"""A true positive rate is stated only where at least so many false positives are expected at its threshold."""


def svc_mia(retain: Any, test: Any, forget: Any, *, seed: int = 0) -> float:
    """Return the share of forget examples that a support vector classifier takes for non-members.

    SalUn (arXiv 2310.12508), "MIA-efficacy": an RBF classifier with C = 3 and γ = 1 on the true-label confidence alone.
    Members are a random sample of the retain set, as large as the test set, non-members the test set. Time grows with
    the square of the test set: 3 to 5 s on one core for 10,000 examples.

    Args:
        retain: True-label confidence of the retain examples, ``(n_r,)``.
        test: True-label confidence of the test examples, ``(n_te,)``; of a class request without the forgotten class.
        forget: True-label confidence of the forget examples, ``(n_f,)``.
        seed: Of the sample.

    Returns:
        Percent, from 0 to 100.

    Raises:
        DataError: If one of them is empty or has a NaN.

    Examples:
        >>> svc_mia([0.9, 0.95, 0.99, 0.97], [0.1, 0.3, 0.2], [0.15, 0.98])
        50.0

    Differences from the authors' code: where the retain set is the smaller one, the test set is sampled down to its
    size, because a classifier of unequal classes answers with the larger one.
    """
    from sklearn.svm import SVC

    members, others = validate_scores(retain, "retain set"), validate_scores(test, "test set")
    forget_scores = validate_scores(forget, "forget set")
    generator = np.random.default_rng(seed)
    size = min(len(members), len(others))
    train_scores = np.concatenate([sample_values(members, size, generator), sample_values(others, size, generator)])
    labels = np.repeat([1, 0], size)
    attack = SVC(C=3.0, gamma="auto", kernel="rbf").fit(train_scores[:, None], labels)
    return 100.0 * float(np.mean(attack.predict(forget_scores[:, None]) == 0))


def sample_values(values: Floats, size: int, generator: np.random.Generator) -> Floats:
    """Return ``size`` of the values, none twice; all of them in their order if that is their number."""
    return values if size == len(values) else generator.choice(values, size, replace=False)


def rank_scores(members: Any, others: Any) -> tuple[Integers, Integers]:
    """Return the scores of both as ranks with ties equal, so that infinite ones can be compared too."""
    inside, outside = validate_scores(members, "members"), validate_scores(others, "non-members")
    ranks = np.unique(np.concatenate([inside, outside]), return_inverse=True)[1].astype(np.int64)
    return ranks[: len(inside)], ranks[len(inside) :]


def attack_auc(members: Any, others: Any) -> float:
    """Return the area under the ROC curve of a score: the chance that a member has more of it than a non-member.

    Args:
        members: Scores of examples trained on, ``(n_in,)``, larger meaning more like a member.
        others: Scores of examples never seen, ``(n_out,)``; of the same classes, else class is measured.

    Returns:
        From 0 to 1; .5 means that the score tells nothing. Ties count a half.

    Raises:
        DataError: If one of them is empty or has a NaN.

    Examples:
        >>> attack_auc([0.9, 0.4], [0.4, 0.1])
        0.875
    """
    from sklearn.metrics import roc_auc_score

    inside, outside = rank_scores(members, others)
    truth = np.repeat([1, 0], [len(inside), len(outside)])
    return float(roc_auc_score(truth, np.concatenate([inside, outside])))


def tpr_at_fpr(members: Any, others: Any, fpr: float, *, weights: Any = None) -> float | None:
    """Return the share of members found at a threshold that wrongly accuses at most ``fpr`` of the non-members.

    Args:
        members: Scores of examples trained on, ``(n_in,)``, larger meaning more like a member.
        others: Scores of examples never seen, ``(n_out,)``.
        fpr: Largest false positive rate, in (0, 1).
        weights: Of the others, such as those under which their mix of classes is that of the members. Default: alike.

    Returns:
        From 0 to 1, nothing interpolated; None where ``n_out · fpr`` is below 10, since the threshold would then hang
        on a handful of examples; with weights n_out is the number of examples of equal weight that is worth as much.

    Raises:
        ConfigError: If ``fpr`` is not between 0 and 1.
        DataError: If one of them is empty or has a NaN.

    Examples:
        >>> tpr_at_fpr([0.95, 0.5], [i / 100 for i in range(100)], 0.1), tpr_at_fpr([0.95], [0.5], 0.1)
        (0.5, None)
    """
    from sklearn.metrics import roc_curve

    inside, outside = rank_scores(members, others)
    if not has_enough_negatives(len(outside) if weights is None else effective_size(weights), fpr):
        return None
    truth = np.repeat([1, 0], [len(inside), len(outside)])
    each = None if weights is None else np.concatenate([np.ones(len(inside)), weights])
    scores = np.concatenate([inside, outside])
    false_rates, true_rates, _ = roc_curve(truth, scores, sample_weight=each, drop_intermediate=False)
    return float(true_rates[false_rates <= fpr].max())


def has_enough_negatives(others: float, fpr: float) -> bool:
    """Return whether so many non-members can carry a threshold at this false positive rate.

    Raises:
        ConfigError: If ``fpr`` is not between 0 and 1.
    """
    if not 0 < fpr < 1:
        raise ConfigError("a false positive rate between 0 and 1", f"{fpr}", "pass for example 0.01")
    return round(others * fpr, 9) >= MIN_FALSE_POSITIVES
