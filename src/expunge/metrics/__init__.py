"""Pure functions from arrays to numbers: accuracy, scores, membership, divergence, sets of features, statistics."""

from expunge.metrics.accuracy import accuracy, per_class_accuracy
from expunge.metrics.agreement import average_gap, tug_of_war
from expunge.metrics.bootstrap import Recall, mean_interval, quantile_interval, tpr_interval
from expunge.metrics.cka import linear_cka
from expunge.metrics.column import Column, Direction
from expunge.metrics.divergence import jensen_shannon, kullback_leibler, l2_distance
from expunge.metrics.ensembles import model_scores
from expunge.metrics.forgetting_quality import ForgettingQualityResult, attack_epsilons, bin_scores, forgetting_quality
from expunge.metrics.frechet import SplitHalf, frechet_distance, frechet_floor, gaussian_distance, split_half
from expunge.metrics.held_out import (
    HeldOutTest,
    HeldOutVerdict,
    combine_tests,
    run_class_test,
    run_held_out_test,
    run_recognition_test,
)
from expunge.metrics.interval import Interval
from expunge.metrics.kernel_distance import kernel_distance
from expunge.metrics.klom import klom
from expunge.metrics.likelihood_ratio import LikelihoodRatio, likelihood_ratio_attack, likelihood_ratios
from expunge.metrics.membership import attack_auc, svc_mia, tpr_at_fpr
from expunge.metrics.neighbors import DensityCoverage, PrecisionRecall, density_coverage, precision_recall
from expunge.metrics.pareto import hypervolume, pareto_front
from expunge.metrics.proportion import clopper_pearson
from expunge.metrics.scores import compute_modified_entropy, confidence, entropy, loss, margin
from expunge.metrics.statistics import Summary, noise_floor, summarize, summarize_differences
from expunge.metrics.stratified import Strata, auc_interval, auc_within_classes, build_strata, class_weights

__all__ = [
    "Column",
    "DensityCoverage",
    "Direction",
    "ForgettingQualityResult",
    "HeldOutTest",
    "HeldOutVerdict",
    "Interval",
    "LikelihoodRatio",
    "PrecisionRecall",
    "Recall",
    "SplitHalf",
    "Strata",
    "Summary",
    "accuracy",
    "attack_auc",
    "attack_epsilons",
    "auc_interval",
    "auc_within_classes",
    "average_gap",
    "bin_scores",
    "build_strata",
    "class_weights",
    "clopper_pearson",
    "combine_tests",
    "compute_modified_entropy",
    "confidence",
    "density_coverage",
    "entropy",
    "forgetting_quality",
    "frechet_distance",
    "frechet_floor",
    "gaussian_distance",
    "hypervolume",
    "jensen_shannon",
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
    "noise_floor",
    "pareto_front",
    "per_class_accuracy",
    "precision_recall",
    "quantile_interval",
    "run_class_test",
    "run_held_out_test",
    "run_recognition_test",
    "split_half",
    "summarize",
    "summarize_differences",
    "svc_mia",
    "tpr_at_fpr",
    "tpr_interval",
    "tug_of_war",
]
