"""Methods: named recipes, one-line compositions of objectives, a surgery and a mask."""

from expunge.methods.bad_teacher import BadTeacher
from expunge.methods.boundary_expand import BoundaryExpand
from expunge.methods.boundary_shrink import BoundaryShrink
from expunge.methods.build import build_method
from expunge.methods.composition import CustomMethod
from expunge.methods.eupmu import EUPMU
from expunge.methods.eupmu_fast import EUPMUFast
from expunge.methods.finetune import FineTune
from expunge.methods.gdr_gma import GDRGMA
from expunge.methods.gradient_ascent import GradientAscent
from expunge.methods.influence import Influence
from expunge.methods.l1_sparse import L1Sparse
from expunge.methods.lur import LUR
from expunge.methods.method import Method
from expunge.methods.msg import MSG
from expunge.methods.neggrad_plus import NegGradPlus
from expunge.methods.neighbor_labels import NeighborLabels
from expunge.methods.projected_random_labels import ProjectedRandomLabels
from expunge.methods.random_labels import RandomLabels
from expunge.methods.random_labels_with_budget import RandomLabelsWithBudget
from expunge.methods.retrain import Retrain
from expunge.methods.salun import SalUn
from expunge.methods.salun_soft import SalUnSoft
from expunge.methods.scissor_hands import ScissorHands
from expunge.methods.scrub import Scrub
from expunge.methods.scrub_rewind import ScrubRewind
from expunge.methods.sfr_on import SFROn
from expunge.methods.ssd import SSD

__all__ = [
    "EUPMU",
    "GDRGMA",
    "LUR",
    "MSG",
    "SSD",
    "BadTeacher",
    "BoundaryExpand",
    "BoundaryShrink",
    "CustomMethod",
    "EUPMUFast",
    "FineTune",
    "GradientAscent",
    "Influence",
    "L1Sparse",
    "Method",
    "NegGradPlus",
    "NeighborLabels",
    "ProjectedRandomLabels",
    "RandomLabels",
    "RandomLabelsWithBudget",
    "Retrain",
    "SFROn",
    "SalUn",
    "SalUnSoft",
    "ScissorHands",
    "Scrub",
    "ScrubRewind",
    "build_method",
]
