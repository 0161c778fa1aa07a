"""Families of models, by the name that ``task`` takes."""

from expunge.tasks.classification.task import Classification
from expunge.tasks.diffusion.task import Diffusion
from expunge.tasks.multilabel.task import Multilabel
from expunge.tasks.regression.task import Regression
from expunge.tasks.stable_diffusion.task import StableDiffusion
from expunge.tasks.task import Task

__all__ = ["Classification", "Diffusion", "Multilabel", "Regression", "StableDiffusion", "Task"]
