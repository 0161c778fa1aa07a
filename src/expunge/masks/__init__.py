"""Masks: which coordinates of an update may move."""

from expunge.masks.fisher_ratio import FisherRatio
from expunge.masks.kept import Kept
from expunge.masks.mask import Mask
from expunge.masks.proximal import Proximal
from expunge.masks.saliency import Saliency
from expunge.masks.small_gradients import SmallGradients

__all__ = ["FisherRatio", "Kept", "Mask", "Proximal", "Saliency", "SmallGradients"]
