"""Families of models, by the name that ``task`` takes."""

from expunge.tasks.classification.family import Classification
from expunge.tasks.diffusion.family import Diffusion
from expunge.tasks.family import Family
from expunge.tasks.stable_diffusion.family import StableDiffusion

__all__ = ["Classification", "Diffusion", "Family", "StableDiffusion"]
