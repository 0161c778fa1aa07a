"""Masks: which coordinates of an update may move."""

from expunge.masks.agreement import Agreement
from expunge.masks.certificate import Certified
from expunge.masks.feasible import FeasibleMask
from expunge.masks.knapsack import Knapsack
from expunge.masks.lenient import Lenient
from expunge.masks.mask import Mask
from expunge.masks.saliency import Saliency
from expunge.masks.sign_agreement import SignAgreement
from expunge.masks.strict import Strict

__all__ = [
    "Agreement",
    "Certified",
    "FeasibleMask",
    "Knapsack",
    "Lenient",
    "Mask",
    "Saliency",
    "SignAgreement",
    "Strict",
]
