"""Measuring models: functions from arrays to numbers, metrics made of them, and the rows of a result."""

from expunge.metrics.accuracy import accuracy, per_class_accuracy
from expunge.metrics.agreement import (
    AVERAGE_GAP,
    RETAIN_ACCURACY,
    TEST_ACCURACY,
    TUG_OF_WAR,
    UNLEARNING_ACCURACY,
    average_gap,
    tug_of_war,
)
from expunge.metrics.arrays import Interval
from expunge.metrics.attacks.audit import Attack, membership_audit
from expunge.metrics.attacks.likelihood_ratio import (
    U_LIRA,
    LikelihoodRatio,
    likelihood_ratio_attack,
    likelihood_ratios,
)
from expunge.metrics.attacks.membership import (
    MembershipAUC,
    MembershipInference,
    TruePositiveRate,
    attack_auc,
    svc_mia,
    tpr_at_fpr,
)
from expunge.metrics.attacks.relearning import Relearning
from expunge.metrics.attacks.stratified import Strata, auc_interval, auc_within_classes, build_strata, class_weights
from expunge.metrics.bootstrap import Recall, mean_interval, quantile_interval, tpr_interval
from expunge.metrics.cka import FeatureAlignment, linear_cka
from expunge.metrics.divergence import Divergence, jensen_shannon, kullback_leibler, l2_distance
from expunge.metrics.ensembles import Comparison, Ensemble, EnsembleMetric, ForgettingQuality, MarginDivergence
from expunge.metrics.evaluate import (
    DEFAULT_METRICS,
    METRICS,
    Scores,
    collect_evidence,
    compute_noise_floor,
    compute_noise_floors,
    evaluate_outputs,
    resolve_metrics,
)
from expunge.metrics.forgetting_quality import ForgettingQualityResult, attack_epsilons, bin_scores, forgetting_quality
from expunge.metrics.frechet import SplitHalf, frechet_distance, frechet_floor, split_half
from expunge.metrics.held_out import (
    HeldOutTest,
    HeldOutVerdict,
    combine_tests,
    run_class_test,
    run_held_out_test,
    run_recognition_test,
)
from expunge.metrics.inference import collect_model_outputs, collect_outputs
from expunge.metrics.kernel_distance import kernel_distance
from expunge.metrics.klom import klom, model_scores
from expunge.metrics.metric import Column, Direction, Metric, MetricBase
from expunge.metrics.neighbors import DensityCoverage, PrecisionRecall, density_coverage, precision_recall
from expunge.metrics.outputs import ModelOutputs, ModelUnderTest, Outputs
from expunge.metrics.pareto import hypervolume, pareto_front
from expunge.metrics.scores import compute_modified_entropy, confidence, entropy, loss, margin
from expunge.metrics.statistics import Summary, clopper_pearson, noise_floor, summarize
from expunge.metrics.table import COST_COLUMNS, PEAK_MEMORY, SECONDS, SPEEDUP, ModelScores, aggregate

__all__ = [
    "AVERAGE_GAP",
    "COST_COLUMNS",
    "DEFAULT_METRICS",
    "METRICS",
    "PEAK_MEMORY",
    "RETAIN_ACCURACY",
    "SECONDS",
    "SPEEDUP",
    "TEST_ACCURACY",
    "TUG_OF_WAR",
    "UNLEARNING_ACCURACY",
    "U_LIRA",
    "Attack",
    "Column",
    "Comparison",
    "DensityCoverage",
    "Direction",
    "Divergence",
    "Ensemble",
    "EnsembleMetric",
    "FeatureAlignment",
    "ForgettingQuality",
    "ForgettingQualityResult",
    "HeldOutTest",
    "HeldOutVerdict",
    "Interval",
    "LikelihoodRatio",
    "MarginDivergence",
    "MembershipAUC",
    "MembershipInference",
    "Metric",
    "MetricBase",
    "ModelOutputs",
    "ModelScores",
    "ModelUnderTest",
    "Outputs",
    "PrecisionRecall",
    "Recall",
    "Relearning",
    "Scores",
    "SplitHalf",
    "Strata",
    "Summary",
    "TruePositiveRate",
    "accuracy",
    "aggregate",
    "attack_auc",
    "attack_epsilons",
    "auc_interval",
    "auc_within_classes",
    "average_gap",
    "bin_scores",
    "build_strata",
    "class_weights",
    "clopper_pearson",
    "collect_evidence",
    "collect_model_outputs",
    "collect_outputs",
    "combine_tests",
    "compute_modified_entropy",
    "compute_noise_floor",
    "compute_noise_floors",
    "confidence",
    "density_coverage",
    "entropy",
    "evaluate_outputs",
    "forgetting_quality",
    "frechet_distance",
    "frechet_floor",
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
    "membership_audit",
    "model_scores",
    "noise_floor",
    "pareto_front",
    "per_class_accuracy",
    "precision_recall",
    "quantile_interval",
    "resolve_metrics",
    "run_class_test",
    "run_held_out_test",
    "run_recognition_test",
    "split_half",
    "summarize",
    "svc_mia",
    "tpr_at_fpr",
    "tpr_interval",
    "tug_of_war",
]
