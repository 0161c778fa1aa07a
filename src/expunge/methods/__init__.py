"""Methods: named recipes, one-line compositions of objectives, a surgery and a mask."""

from expunge.methods.build import build_method
from expunge.methods.composition import Composed
from expunge.methods.eupmu import EUPMU
from expunge.methods.eupmu_fast import EUPMUFast
from expunge.methods.explicit_surgery import ExplicitSurgery
from expunge.methods.finetune import FineTune
from expunge.methods.gradient_ascent import GradientAscent
from expunge.methods.lur import LUR
from expunge.methods.method import Method
from expunge.methods.neggrad_plus import NegGradPlus
from expunge.methods.random_labels import RandomLabels
from expunge.methods.retrain import Retrain
from expunge.methods.salun import SalUn

__all__ = [
    "EUPMU",
    "LUR",
    "Composed",
    "EUPMUFast",
    "ExplicitSurgery",
    "FineTune",
    "GradientAscent",
    "Method",
    "NegGradPlus",
    "RandomLabels",
    "Retrain",
    "SalUn",
    "build_method",
]
