"""Families of models, by the name that ``task`` takes."""

from expunge.tasks.classification.task import Classification
from expunge.tasks.diffusion.task import Diffusion
from expunge.tasks.stable_diffusion.task import StableDiffusion
from expunge.tasks.task import Task

__all__ = ["Classification", "Diffusion", "StableDiffusion", "Task"]
