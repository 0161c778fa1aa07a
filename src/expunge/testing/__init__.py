"""Shipped conformance suite: contracts that our surgeries keep, for yours."""

from expunge.testing.conformance import CHECKS, ContractError, check_surgery
from expunge.testing.toy import ToyStep, linear, quadratic

__all__ = ["CHECKS", "ContractError", "ToyStep", "check_surgery", "linear", "quadratic"]
