"""From a model and a split to scores, and from scores of many seeds to the rows of a result."""

from expunge.evaluation.accuracies import RetainAccuracy, TestAccuracy, UnlearningAccuracy
from expunge.evaluation.agreement import AverageGap, TugOfWar
from expunge.evaluation.audit import Attack, Recall, membership_audit
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
from expunge.evaluation.evaluate import Scores, evaluate_outputs, gap_floor
from expunge.evaluation.membership import (
    MembershipAUC,
    MembershipInference,
    TruePositivesAtOnePercent,
    TruePositivesAtOnePermille,
)
from expunge.evaluation.metric import Metric, Quantity
from expunge.evaluation.outputs import ModelOutputs, Outputs
from expunge.evaluation.table import SECONDS, Trial, tabulate
from expunge.metrics import Column

__all__ = [
    "SECONDS",
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
    "Outputs",
    "Quantity",
    "Recall",
    "RetainAccuracy",
    "RetainDistance",
    "RetainDivergence",
    "RetainRelativeEntropy",
    "Scores",
    "TestAccuracy",
    "TestDistance",
    "TestDivergence",
    "TestRelativeEntropy",
    "Trial",
    "TruePositivesAtOnePercent",
    "TruePositivesAtOnePermille",
    "TugOfWar",
    "UnlearningAccuracy",
    "collect",
    "evaluate_outputs",
    "gap_floor",
    "membership_audit",
    "outputs_of",
    "tabulate",
]
