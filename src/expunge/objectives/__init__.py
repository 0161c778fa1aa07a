"""Objectives: what is minimised on the forget side and on the retain side."""

from expunge.objectives.adaptive_ascent import AdaptiveAscent
from expunge.objectives.ascent import Ascent
from expunge.objectives.boundary import Boundary
from expunge.objectives.counterfactual import Counterfactual
from expunge.objectives.cross_entropy import CrossEntropy
from expunge.objectives.disobey import Disobey
from expunge.objectives.distil import Distil
from expunge.objectives.held_out import HeldOut
from expunge.objectives.incompetent import Incompetent
from expunge.objectives.objective import Model, Objective
from expunge.objectives.random_label import RandomLabel
from expunge.objectives.sparse import Sparse
from expunge.objectives.uniform import Uniform

__all__ = [
    "AdaptiveAscent",
    "Ascent",
    "Boundary",
    "Counterfactual",
    "CrossEntropy",
    "Disobey",
    "Distil",
    "HeldOut",
    "Incompetent",
    "Model",
    "Objective",
    "RandomLabel",
    "Sparse",
    "Uniform",
]
