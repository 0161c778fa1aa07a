"""Population attacks as metrics: SalUn's classifier, the area under the ROC curve, and recall at few false alarms."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple, get_args

import torch

from expunge.errors import ConfigError
from expunge.evaluation.metric import Metric
from expunge.evaluation.outputs import ModelOutputs, Outputs
from expunge.metrics import (
    Column,
    auc_within_classes,
    class_weights,
    compute_modified_entropy,
    confidence,
    entropy,
    loss,
    svc_mia,
    tpr_at_fpr,
)
from expunge.metrics.arrays import Floats

ScoreName = Literal["loss", "confidence", "entropy", "modified_entropy"]
SCORE_NAMES: tuple[ScoreName, ...] = get_args(ScoreName)


def compute_member_score(outputs: Outputs, score: ScoreName) -> Floats:
    """Return one number per example, larger for what looks more like a member.

    Args:
        outputs: Of the examples to judge.
        score: Confidence as it is, or loss, entropy or modified entropy with a minus.

    Raises:
        ConfigError: If there is no such score.
    """
    if score == "confidence":
        return confidence(outputs.logits, outputs.targets)
    if score == "entropy":
        return -entropy(outputs.logits)
    if score not in SCORE_NAMES:
        raise ConfigError(f"one of the scores {', '.join(SCORE_NAMES)}", f"'{score}'", "choose one of them")
    return -(loss if score == "loss" else compute_modified_entropy)(outputs.logits, outputs.targets)


class ClassMatchedOutputs(NamedTuple):
    """Forgotten and held-out examples of the classes that both have.

    Args:
        forget: The forgotten ones; those of classes without held-out examples are left out.
        test: The held-out ones.
        weights: Of the held-out ones, so that their mix of classes is that of the forgotten ones.
    """

    forget: Outputs
    test: Outputs
    weights: Floats


def match_classes(model: ModelOutputs) -> ClassMatchedOutputs:
    """Return the forgotten and the held-out examples of the classes that both have."""
    test = model.test_same_classes
    forget = model.forget.only(torch.unique(test.targets))
    return ClassMatchedOutputs(forget, test, class_weights(forget.targets, test.targets)[1])


class MembershipInference(Metric):
    """Count the forget examples that SalUn's support vector classifier takes for non-members (MIA).

    Args:
        seed: Of the sample of retain examples.
    """

    aliases = ("mia", "mia_efficacy")
    label = "MIA"
    unit = "%"
    target = "the value of the retrained model"
    definition = (
        "Share of forget examples called non-member by an RBF support vector classifier (C = 3, gamma auto) on the "
        "true-label confidence, trained on the test examples and as many random retain examples; one feature only, and "
        "of a class request the forgotten class is left out of the test examples."
    )

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def compute(self, model: ModelOutputs, retrained: ModelOutputs | None) -> float | None:
        """Return percent; None if the test set has forgotten classes only."""
        if not len(model.test):
            return None
        sides = (confidence(part.logits, part.targets) for part in (model.retain, model.test, model.forget))
        return svc_mia(*sides, seed=self.seed)


class MembershipAUC(Metric):
    """Estimate the chance that a forget example looks more like a member than a held-out one alike (AUC).

    Args:
        score: What is compared.
    """

    aliases = ("auc",)
    label = "AUC"
    target = "0.5, where forget examples cannot be told from held-out ones"
    definition = (
        "Area under the ROC curve of a score, forget examples against held-out examples within each class, averaged "
        "with the number of forget examples in each (pooled, the mix of classes would be measured); classes without "
        "held-out examples are left out. Below 0.5 the forgetting itself gives the examples away."
    )

    def __init__(self, score: ScoreName = "loss") -> None:
        self.score: ScoreName = score

    @property
    def key(self) -> str:
        """The short name in results: auc for the loss, else with the score's name."""
        return "auc" if self.score == "loss" else f"auc_{self.score}"

    def column(self) -> Column:
        """Return what a table says about the metric, with the score that is compared."""
        plain, score = super().column(), self.score.replace("_", " ")
        label = self.label if self.score == "loss" else f"{self.label} ({score})"
        return plain._replace(label=label, definition=plain.definition.replace("a score", f"the {score}", 1))

    def compute(self, model: ModelOutputs, retrained: ModelOutputs | None) -> float | None:
        """Return from 0 to 1; None without held-out examples of the same classes."""
        if not len(model.test_same_classes):
            return None
        sides = match_classes(model)
        members, others = (compute_member_score(part, self.score) for part in (sides.forget, sides.test))
        return auc_within_classes(members, others, sides.forget.targets, sides.test.targets)


class TPRAtFPR(Metric):
    """Share of forget examples found at a fixed false positive rate, the loss against held-out of the same classes."""

    unit = "%"
    fpr: ClassVar[float]

    def compute(self, model: ModelOutputs, retrained: ModelOutputs | None) -> float | None:
        """Return percent; None where fewer than ten false positives are expected."""
        if not len(model.test_same_classes):
            return None
        sides = match_classes(model)
        members, others = (compute_member_score(part, "loss") for part in (sides.forget, sides.test))
        tpr = tpr_at_fpr(members, others, self.fpr, weights=sides.weights)
        return None if tpr is None else 100.0 * tpr


class TruePositivesAtOnePercent(TPRAtFPR):
    """Count the forget examples found when 1 held-out one in 100 is wrongly accused (TPR at 1 % FPR)."""

    aliases = ("tpr_at_1_percent",)
    label = "TPR @ 1 % FPR"
    fpr = 0.01
    target = "1 %, what guessing finds"
    definition = (
        "Share of forget examples whose loss is below a threshold that at most 1 % of held-out examples of the same "
        "classes pass, weighted to the same mix of classes; stated only with at least 1,000 of those."
    )


class TruePositivesAtOnePermille(TPRAtFPR):
    """Count the forget examples found when 1 held-out one in 1000 is wrongly accused (TPR at 0.1 % FPR)."""

    aliases = ("tpr_at_1_permille",)
    label = "TPR @ 0.1 % FPR"
    fpr = 0.001
    target = "0.1 %, what guessing finds"
    definition = (
        "Share of forget examples whose loss is below a threshold that at most 0.1 % of held-out examples of the same "
        "classes pass, weighted to the same mix of classes; stated only with at least 10,000 of those."
    )
