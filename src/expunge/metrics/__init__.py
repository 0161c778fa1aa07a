"""Pure functions from arrays to numbers: accuracy, scores, membership, divergence, agreement, statistics."""

from expunge.metrics.accuracy import accuracy, per_class_accuracy
from expunge.metrics.agreement import average_gap, tug_of_war
from expunge.metrics.bootstrap import Interval, auc_interval, tpr_interval
from expunge.metrics.divergence import jensen_shannon, kullback_leibler, l2_distance
from expunge.metrics.membership import attack_auc, svc_efficacy, tpr_at_fpr
from expunge.metrics.scores import confidence, entropy, loss, modified_entropy
from expunge.metrics.statistics import Summary, noise_floor, paired_differences, summarise

__all__ = [
    "Interval",
    "Summary",
    "accuracy",
    "attack_auc",
    "auc_interval",
    "average_gap",
    "confidence",
    "entropy",
    "jensen_shannon",
    "kullback_leibler",
    "l2_distance",
    "loss",
    "modified_entropy",
    "noise_floor",
    "paired_differences",
    "per_class_accuracy",
    "summarise",
    "svc_efficacy",
    "tpr_at_fpr",
    "tpr_interval",
    "tug_of_war",
]
