"""Methods for text-to-image models alone."""

from expunge.tasks.stable_diffusion.methods.uce import UCE

__all__ = ["UCE"]
