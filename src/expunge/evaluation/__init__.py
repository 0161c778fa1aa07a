"""From a model and a split to scores, and from scores of many seeds to the rows of a result."""

from expunge.evaluation.accuracies import RetainAccuracy, TestAccuracy, UnlearningAccuracy
from expunge.evaluation.agreement import AverageGap, TugOfWar
from expunge.evaluation.audit import Attack, membership_audit
from expunge.evaluation.cka import OriginalAlignment, RetrainedAlignment
from expunge.evaluation.divergences import (
    ForgetDistance,
    ForgetDivergence,
    ForgetRelativeEntropy,
    RetainDistance,
    RetainDivergence,
    RetainRelativeEntropy,
    TestDistance,
    TestDivergence,
    TestRelativeEntropy,
)
from expunge.evaluation.ensembles import Comparison, Ensemble, EnsembleMetric, ForgettingQuality, MarginDivergence
from expunge.evaluation.evaluate import (
    DEFAULT_METRICS,
    Scores,
    collect_evidence,
    compute_noise_floor,
    compute_noise_floors,
    evaluate_outputs,
    resolve_metrics,
)
from expunge.evaluation.inference import collect_model_outputs, collect_outputs
from expunge.evaluation.membership import (
    MembershipAUC,
    MembershipInference,
    TruePositivesAtOnePercent,
    TruePositivesAtOnePermille,
)
from expunge.evaluation.metric import Metric, MetricBase
from expunge.evaluation.outputs import ModelOutputs, ModelUnderTest, Outputs
from expunge.evaluation.relearning import RelearnRatio, RelearnSteps
from expunge.evaluation.table import COST_COLUMNS, PEAK_MEMORY, SECONDS, SPEEDUP, ModelScores, aggregate
from expunge.evaluation.ulira import UnlearningLiRA
from expunge.metrics import Column, Recall

__all__ = [
    "COST_COLUMNS",
    "DEFAULT_METRICS",
    "PEAK_MEMORY",
    "SECONDS",
    "SPEEDUP",
    "Attack",
    "AverageGap",
    "Column",
    "Comparison",
    "Ensemble",
    "EnsembleMetric",
    "ForgetDistance",
    "ForgetDivergence",
    "ForgetRelativeEntropy",
    "ForgettingQuality",
    "MarginDivergence",
    "MembershipAUC",
    "MembershipInference",
    "Metric",
    "MetricBase",
    "ModelOutputs",
    "ModelScores",
    "ModelUnderTest",
    "OriginalAlignment",
    "Outputs",
    "Recall",
    "RelearnRatio",
    "RelearnSteps",
    "RetainAccuracy",
    "RetainDistance",
    "RetainDivergence",
    "RetainRelativeEntropy",
    "RetrainedAlignment",
    "Scores",
    "TestAccuracy",
    "TestDistance",
    "TestDivergence",
    "TestRelativeEntropy",
    "TruePositivesAtOnePercent",
    "TruePositivesAtOnePermille",
    "TugOfWar",
    "UnlearningAccuracy",
    "UnlearningLiRA",
    "aggregate",
    "collect_evidence",
    "collect_model_outputs",
    "collect_outputs",
    "compute_noise_floor",
    "compute_noise_floors",
    "evaluate_outputs",
    "membership_audit",
    "resolve_metrics",
]
