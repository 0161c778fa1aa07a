"""Masks: which coordinates of an update may move."""

from expunge.masks.mask import Mask
from expunge.masks.saliency import Saliency

__all__ = ["Mask", "Saliency"]
