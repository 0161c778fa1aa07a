"""Methods for text-to-image models alone; the general ones take the objectives of the family."""

from expunge.tasks.stable_diffusion.methods.spm import SPM

__all__ = ["SPM"]
