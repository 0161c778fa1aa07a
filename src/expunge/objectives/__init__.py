"""Objectives: what is minimised on the forget side and on the retain side."""

from expunge.objectives.ascent import Ascent
from expunge.objectives.cross_entropy import CrossEntropy
from expunge.objectives.held_out import HeldOut
from expunge.objectives.objective import Model, Objective
from expunge.objectives.random_label import RandomLabel
from expunge.objectives.uniform import Uniform

__all__ = ["Ascent", "CrossEntropy", "HeldOut", "Model", "Objective", "RandomLabel", "Uniform"]
