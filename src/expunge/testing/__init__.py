"""Shipped conformance suite: contracts that our surgeries, masks and metrics keep, for yours."""

from expunge.testing.conformance import CHECKS, ContractError, check_surgery
from expunge.testing.masks import check_mask
from expunge.testing.metrics import check_ensemble_metric, check_metric
from expunge.testing.toy import ToyStep, linear, quadratic
from expunge.testing.toy_problem import CLASSIFIER, ToyProblem

__all__ = [
    "CHECKS",
    "CLASSIFIER",
    "ContractError",
    "ToyProblem",
    "ToyStep",
    "check_ensemble_metric",
    "check_mask",
    "check_metric",
    "check_surgery",
    "linear",
    "quadratic",
]
