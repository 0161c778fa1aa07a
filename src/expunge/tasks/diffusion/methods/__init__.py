"""Methods for diffusion models alone; the general ones take the objectives of the family."""

from expunge.tasks.diffusion.methods.esd import ESD
from expunge.tasks.diffusion.methods.selective_amnesia import SelectiveAmnesia

__all__ = ["ESD", "SelectiveAmnesia"]
