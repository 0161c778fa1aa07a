"""The budget room: what unlearning may cost, how it is read, certified and kept, and when to stop."""

from expunge.budget.alpha_spending import count_certified, spend_alpha
from expunge.budget.betting import betting_bound, min_mean_drop
from expunge.budget.budget import Budget
from expunge.budget.budget_result import BudgetResult, ControlEvaluation
from expunge.budget.certificate import (
    Certificate,
    UtilityCertificate,
    certificate_from_counts,
    min_accuracy_drop,
    tango_bound,
    utility_certificate,
)
from expunge.budget.certification import (
    CertificationSample,
    certify_budget,
    compute_certificate,
    count_needed_examples,
    measure_for_certificate,
    min_certifiable_drop,
)
from expunge.budget.criterion import (
    Criterion,
    CriterionValue,
    ForgettingCriterion,
    LossCriterion,
    find_forgotten_classes,
)
from expunge.budget.equivalence_test import EquivalenceResult, is_unrecognized, min_margin, run_equivalence_test
from expunge.budget.holdout_evaluation import (
    EvalResult,
    MetricFn,
    compute_losses,
    evaluate_model,
    evaluate_model_safely,
    iterate_batches,
)
from expunge.budget.holdout_split import HoldoutIndices, select_one_per_id, split_holdout
from expunge.budget.resampling import bootstrap_bound, jackknife_bound
from expunge.budget.selection import Candidate, Preference, Selection, pareto_front, select_checkpoint
from expunge.budget.tolerance_scaler import ToleranceScaler

__all__ = [
    "Budget",
    "BudgetResult",
    "Candidate",
    "Certificate",
    "CertificationSample",
    "ControlEvaluation",
    "Criterion",
    "CriterionValue",
    "EquivalenceResult",
    "EvalResult",
    "ForgettingCriterion",
    "HoldoutIndices",
    "LossCriterion",
    "MetricFn",
    "Preference",
    "Selection",
    "ToleranceScaler",
    "UtilityCertificate",
    "betting_bound",
    "bootstrap_bound",
    "certificate_from_counts",
    "certify_budget",
    "compute_certificate",
    "compute_losses",
    "count_certified",
    "count_needed_examples",
    "evaluate_model",
    "evaluate_model_safely",
    "find_forgotten_classes",
    "is_unrecognized",
    "iterate_batches",
    "jackknife_bound",
    "measure_for_certificate",
    "min_accuracy_drop",
    "min_certifiable_drop",
    "min_margin",
    "min_mean_drop",
    "pareto_front",
    "run_equivalence_test",
    "select_checkpoint",
    "select_one_per_id",
    "spend_alpha",
    "split_holdout",
    "tango_bound",
    "utility_certificate",
]
