"""Objectives: what is minimized on the forget side and on the retain side."""

from expunge.objectives.adaptive_ascent import AdaptiveAscent
from expunge.objectives.cross_entropy import CrossEntropy
from expunge.objectives.distillation import Distillation
from expunge.objectives.holdout_distillation import HoldoutDistillation
from expunge.objectives.l1_penalty import L1Penalty
from expunge.objectives.nearest_wrong_label import NearestWrongLabel
from expunge.objectives.negative_cross_entropy import NegativeCrossEntropy
from expunge.objectives.negative_kl import NegativeKL
from expunge.objectives.neighbor_label import NeighborLabel
from expunge.objectives.objective import Model, Objective
from expunge.objectives.random_label import RandomLabel
from expunge.objectives.random_teacher import RandomTeacher
from expunge.objectives.uniform_target import UniformTarget

__all__ = [
    "AdaptiveAscent",
    "CrossEntropy",
    "Distillation",
    "HoldoutDistillation",
    "L1Penalty",
    "Model",
    "NearestWrongLabel",
    "NegativeCrossEntropy",
    "NegativeKL",
    "NeighborLabel",
    "Objective",
    "RandomLabel",
    "RandomTeacher",
    "UniformTarget",
]
