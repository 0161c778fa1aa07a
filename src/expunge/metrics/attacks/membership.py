"""Population attacks: how well one number per example tells those trained on from those never seen.

A score is oriented so that larger means more like a member: confidence as it is, loss and entropies with a minus.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch

from expunge.errors import ConfigError
from expunge.metrics.arrays import Floats, Integers, validate_scores
from expunge.metrics.attacks.stratified import auc_within_classes, class_weights, effective_size
from expunge.metrics.metric import Metric
from expunge.metrics.outputs import ModelOutputs, Outputs, check_choice
from expunge.metrics.scores import compute_modified_entropy, confidence, entropy, loss

MIN_FALSE_POSITIVES = 10
"""A true positive rate is stated only where at least so many false positives are expected at its threshold."""
ScoreName = Literal["loss", "confidence", "entropy", "modified_entropy"]
SCORE_NAMES: tuple[ScoreName, ...] = get_args(ScoreName)


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
    """Return whether so many non-members can carry a threshold at this false positive rate."""
    if not 0 < fpr < 1:
        raise ConfigError("a false positive rate between 0 and 1", f"{fpr}", "pass for example 0.01")
    return round(others * fpr, 9) >= MIN_FALSE_POSITIVES


def compute_member_score(outputs: Outputs, score: ScoreName) -> Floats:
    """Return one number per example, larger for what looks more like a member."""
    check_choice(score, SCORE_NAMES)
    if score == "confidence":
        return confidence(outputs.logits, outputs.targets)
    if score == "entropy":
        return -entropy(outputs.logits)
    return -(loss if score == "loss" else compute_modified_entropy)(outputs.logits, outputs.targets)


class ClassMatchedScores(NamedTuple):
    """Scores of the forgotten and of the held-out examples of the classes that both have.

    Args:
        members: Of the forgotten ones; those of classes without held-out examples are left out.
        others: Of the held-out ones.
        member_classes: Classes of the forgotten ones.
        other_classes: Classes of the held-out ones.
        weights: Of the held-out ones, so that their mix of classes is that of the forgotten ones.
    """

    members: Floats
    others: Floats
    member_classes: Any
    other_classes: Any
    weights: Floats


def match_classes(model: ModelOutputs, score: ScoreName) -> ClassMatchedScores | None:
    """Return the scores of the classes that both have; None where there is none."""
    test = model.test_same_classes
    if not len(test):
        return None
    forget = model.forget.only(torch.unique(test.targets))
    weights = class_weights(forget.targets, test.targets)[1]
    members, others = (compute_member_score(part, score) for part in (forget, test))
    return ClassMatchedScores(members, others, forget.targets, test.targets, weights)


class MembershipInference(Metric):
    """Count the forget examples that SalUn's support vector classifier takes for non-members (MIA).

    Args:
        seed: Of the sample of retain examples.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__(
            _count_non_members,
            "mia",
            "MIA",
            "the value of the retrained model",
            "Share of forget examples called non-member by an RBF support vector classifier (C = 3, gamma auto) on the "
            "true-label confidence, trained on the test examples and as many random retain examples; one feature only, "
            "and of a class request the forgotten class is left out of the test examples.",
            unit="%",
            name="membership_inference",
            aliases=("mia_efficacy",),
            summary="Count the forget examples that SalUn's support vector classifier takes for non-members (MIA).",
            settings={"seed": seed},
        )


def _count_non_members(model: ModelOutputs, _: Any, *, seed: int) -> float | None:
    sides = (model.retain, model.test, model.forget)
    return svc_mia(*(confidence(side.logits, side.targets) for side in sides), seed=seed) if len(model.test) else None


class MembershipAUC(Metric):
    """Estimate the chance that a forget example looks more like a member than a held-out one alike (AUC).

    Args:
        score: What is compared: ``loss``, ``confidence``, ``entropy`` or ``modified_entropy``.
    """

    def __init__(self, score: ScoreName = "loss") -> None:
        check_choice(score, SCORE_NAMES)
        words = score.replace("_", " ")
        super().__init__(
            _measure_auc,
            "auc" if score == "loss" else f"auc_{score}",
            "AUC" if score == "loss" else f"AUC ({words})",
            "0.5, where forget examples cannot be told from held-out ones",
            f"Area under the ROC curve of the {words}, forget examples against held-out examples within each class, "
            "averaged with the number of forget examples in each (pooled, the mix of classes would be measured); "
            "classes without held-out examples are left out. Below 0.5 the forgetting itself gives the examples away.",
            name="membership_auc",
            summary="Estimate the chance that a forget example looks more like a member than a held-out one alike "
            "(AUC).",
            settings={"score": score},
        )


def _measure_auc(model: ModelOutputs, _: Any, *, score: ScoreName) -> float | None:
    sides = match_classes(model, score)
    return None if sides is None else auc_within_classes(*sides[:4])


class TruePositiveRate(Metric):
    """Count the forget examples found when a given share of held-out ones is wrongly accused (TPR at a FPR).

    Args:
        fpr: That share: .01 or .001.

    Raises:
        ConfigError: If it is another one.
    """

    def __init__(self, fpr: float = 0.01) -> None:
        words = {0.01: "percent", 0.001: "permille"}
        if fpr not in words:
            raise ConfigError("a false positive rate of 0.01 or 0.001", f"{fpr}", "choose one of them")
        super().__init__(
            _measure_tpr,
            f"tpr_at_1_{words[fpr]}",
            f"TPR @ {100 * fpr:g} % FPR",
            f"{100 * fpr:g} %, what guessing finds",
            f"Share of forget examples whose loss is below a threshold that at most {100 * fpr:g} % of held-out "
            "examples of the same classes pass, weighted to the same mix of classes; stated only with at least "
            f"{round(MIN_FALSE_POSITIVES / fpr):,} of those.",
            unit="%",
            name=f"true_positives_at_one_{words[fpr]}",
            summary=f"Count the forget examples found when 1 held-out one in {round(1 / fpr)} is wrongly accused (TPR "
            f"at {100 * fpr:g} % FPR).",
            settings={"fpr": fpr},
        )


def _measure_tpr(model: ModelOutputs, _: Any, *, fpr: float) -> float | None:
    sides = match_classes(model, "loss")
    tpr = None if sides is None else tpr_at_fpr(sides.members, sides.others, fpr, weights=sides.weights)
    return None if tpr is None else 100.0 * tpr
