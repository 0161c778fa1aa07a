"""Methods for text-to-image models alone; the general ones take the objectives of the family."""

from expunge.tasks.stable_diffusion.methods.spm import SPM
from expunge.tasks.stable_diffusion.methods.uce import UCE

__all__ = ["SPM", "UCE"]
