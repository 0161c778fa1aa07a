"""Masks: which coordinates of an update may move."""

from expunge.masks.agreement import Agreement
from expunge.masks.certificate import Certified
from expunge.masks.feasible import FeasibleMask
from expunge.masks.fisher_ratio import FisherRatio
from expunge.masks.kept import Kept
from expunge.masks.knapsack import Knapsack
from expunge.masks.lenient import Lenient
from expunge.masks.mask import Mask
from expunge.masks.proximal import Proximal
from expunge.masks.saliency import Saliency
from expunge.masks.sign_agreement import SignAgreement
from expunge.masks.small_gradients import SmallGradients
from expunge.masks.strict import Strict

__all__ = [
    "Agreement",
    "Certified",
    "FeasibleMask",
    "FisherRatio",
    "Kept",
    "Knapsack",
    "Lenient",
    "Mask",
    "Proximal",
    "Saliency",
    "SignAgreement",
    "SmallGradients",
    "Strict",
]
