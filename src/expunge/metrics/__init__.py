"""Pure functions from arrays to numbers: accuracy, scores, membership, divergence, sets of features, statistics."""

from expunge.metrics.accuracy import accuracy, per_class_accuracy
from expunge.metrics.agreement import average_gap, tug_of_war
from expunge.metrics.alignment import linear_cka
from expunge.metrics.bootstrap import Recall, mean_interval, quantile_interval, tpr_interval
from expunge.metrics.column import Column, Direction
from expunge.metrics.divergence import jensen_shannon, kullback_leibler, l2_distance
from expunge.metrics.ensembles import model_scores
from expunge.metrics.forgetting_quality import Quality, attack_epsilons, bin_scores, forgetting_quality
from expunge.metrics.frechet import SplitHalf, frechet_distance, frechet_floor, gaussian_distance, split_half
from expunge.metrics.held_out import (
    HeldOutTest,
    HeldOutVerdict,
    classes_test,
    held_out_test,
    joint_test,
    recognition_test,
)
from expunge.metrics.interval import Interval
from expunge.metrics.kernel_distance import kernel_distance
from expunge.metrics.klom import klom
from expunge.metrics.likelihood_ratio import LikelihoodRatio, likelihood_ratio_attack, likelihood_ratios
from expunge.metrics.membership import attack_auc, svc_efficacy, tpr_at_fpr
from expunge.metrics.neighbours import DensityCoverage, PrecisionRecall, density_coverage, precision_recall
from expunge.metrics.pareto import hypervolume, pareto_front
from expunge.metrics.proportion import clopper_pearson
from expunge.metrics.scores import confidence, entropy, loss, margin, modified_entropy
from expunge.metrics.statistics import Summary, noise_floor, paired_differences, summarise
from expunge.metrics.stratified import Strata, auc_interval, class_weights, strata, stratified_auc

__all__ = [
    "Column",
    "DensityCoverage",
    "Direction",
    "HeldOutTest",
    "HeldOutVerdict",
    "Interval",
    "LikelihoodRatio",
    "PrecisionRecall",
    "Quality",
    "Recall",
    "SplitHalf",
    "Strata",
    "Summary",
    "accuracy",
    "attack_auc",
    "attack_epsilons",
    "auc_interval",
    "average_gap",
    "bin_scores",
    "class_weights",
    "classes_test",
    "clopper_pearson",
    "confidence",
    "density_coverage",
    "entropy",
    "forgetting_quality",
    "frechet_distance",
    "frechet_floor",
    "gaussian_distance",
    "held_out_test",
    "hypervolume",
    "jensen_shannon",
    "joint_test",
    "kernel_distance",
    "klom",
    "kullback_leibler",
    "l2_distance",
    "likelihood_ratio_attack",
    "likelihood_ratios",
    "linear_cka",
    "loss",
    "margin",
    "mean_interval",
    "model_scores",
    "modified_entropy",
    "noise_floor",
    "paired_differences",
    "pareto_front",
    "per_class_accuracy",
    "precision_recall",
    "quantile_interval",
    "recognition_test",
    "split_half",
    "strata",
    "stratified_auc",
    "summarise",
    "svc_efficacy",
    "tpr_at_fpr",
    "tpr_interval",
    "tug_of_war",
]
