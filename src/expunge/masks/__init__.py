"""Masks: which coordinates of an update may move."""

from expunge.masks.feasible import FeasibleMask
from expunge.masks.fisher_ratio import FisherRatio
from expunge.masks.keep_if_harmless import KeepIfHarmless
from expunge.masks.keep_unless_harmful import KeepUnlessHarmful
from expunge.masks.knapsack import Knapsack
from expunge.masks.mask import Mask
from expunge.masks.probabilistic_agreement import ProbabilisticAgreement
from expunge.masks.saliency import Saliency
from expunge.masks.sequential_test import SequentialTest
from expunge.masks.sign_agreement import SignAgreement
from expunge.masks.small_gradients import SmallGradients
from expunge.masks.soft_threshold import SoftThreshold
from expunge.masks.static_mask import StaticMask

__all__ = [
    "FeasibleMask",
    "FisherRatio",
    "KeepIfHarmless",
    "KeepUnlessHarmful",
    "Knapsack",
    "Mask",
    "ProbabilisticAgreement",
    "Saliency",
    "SequentialTest",
    "SignAgreement",
    "SmallGradients",
    "SoftThreshold",
    "StaticMask",
]
