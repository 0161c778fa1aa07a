"""From a model and a split to scores, and from scores of many seeds to the rows of a result."""

from expunge.evaluation.accuracies import RetainAccuracy, TestAccuracy, UnlearningAccuracy
from expunge.evaluation.agreement import AverageGap, TugOfWar
from expunge.evaluation.alignments import OriginalAlignment, RetrainedAlignment
from expunge.evaluation.audit import Attack, membership_audit
from expunge.evaluation.collecting import collect, outputs_of
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
    DEFAULT,
    Scores,
    as_metrics,
    evaluate_outputs,
    evidence_of,
    gap_floor,
    gap_floors,
)
from expunge.evaluation.leakage import UnlearningLiRA
from expunge.evaluation.membership import (
    MembershipAUC,
    MembershipInference,
    TruePositivesAtOnePercent,
    TruePositivesAtOnePermille,
)
from expunge.evaluation.metric import Metric, Quantity
from expunge.evaluation.outputs import ModelOutputs, Outputs, Subject
from expunge.evaluation.relearning import RelearnRatio, RelearnSteps
from expunge.evaluation.table import COST, PEAK, SECONDS, SPEEDUP, Trial, tabulate
from expunge.metrics import Column, Recall

__all__ = [
    "COST",
    "DEFAULT",
    "PEAK",
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
    "ModelOutputs",
    "OriginalAlignment",
    "Outputs",
    "Quantity",
    "Recall",
    "RelearnRatio",
    "RelearnSteps",
    "RetainAccuracy",
    "RetainDistance",
    "RetainDivergence",
    "RetainRelativeEntropy",
    "RetrainedAlignment",
    "Scores",
    "Subject",
    "TestAccuracy",
    "TestDistance",
    "TestDivergence",
    "TestRelativeEntropy",
    "Trial",
    "TruePositivesAtOnePercent",
    "TruePositivesAtOnePermille",
    "TugOfWar",
    "UnlearningAccuracy",
    "UnlearningLiRA",
    "as_metrics",
    "collect",
    "evaluate_outputs",
    "evidence_of",
    "gap_floor",
    "gap_floors",
    "membership_audit",
    "outputs_of",
    "tabulate",
]
