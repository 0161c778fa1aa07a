"""Shipped conformance suite: contracts that our surgeries and masks keep, for yours."""

from expunge.testing.bench import CLASSIFIER, Bench
from expunge.testing.conformance import CHECKS, ContractError, check_surgery
from expunge.testing.masks import check_mask
from expunge.testing.toy import ToyStep, linear, quadratic

__all__ = [
    "CHECKS",
    "CLASSIFIER",
    "Bench",
    "ContractError",
    "ToyStep",
    "check_mask",
    "check_surgery",
    "linear",
    "quadratic",
]
