"""The core: surgeries decide one update with the step they are lent. Imports torch alone."""

from expunge.surgery.aligned_mtl import AlignedMTL
from expunge.surgery.budget_schedule import BudgetSchedule
from expunge.surgery.cagrad import CAGrad
from expunge.surgery.cosine_forget_weight import CosineForgetWeight
from expunge.surgery.direction import Direction, gramian
from expunge.surgery.direction_memory import DirectionMemory
from expunge.surgery.eupmu import EUPMUSurgery
from expunge.surgery.eupmu_fast import EUPMUFastSurgery
from expunge.surgery.eupmu_official import EUPMUForm, EUPMUOfficialSurgery
from expunge.surgery.famo import FAMO
from expunge.surgery.gdr_gma import GDRGMASurgery
from expunge.surgery.gem import GEM
from expunge.surgery.gradvac import GradVac
from expunge.surgery.gramian_surgery import GramianSurgery
from expunge.surgery.loss_estimate import LossIncreaseEstimate
from expunge.surgery.lur import LURSurgery
from expunge.surgery.mgda import MGDA
from expunge.surgery.moments import EMAMoments, Moments, WelfordMoments, make_moments
from expunge.surgery.nash_mtl import NashMTL
from expunge.surgery.pcgrad import PCGrad
from expunge.surgery.pi_controller import PIController
from expunge.surgery.projection import Projection
from expunge.surgery.robust_projection import RobustProjection
from expunge.surgery.step import CombineFn, LinearCombination, Progress, Step
from expunge.surgery.surgery import Surgery
from expunge.surgery.tolerance_schedule import ToleranceSchedule
from expunge.surgery.torchjd_surgery import TorchJDSurgery
from expunge.surgery.union_mean import UnionMean
from expunge.surgery.upgrad import UPGrad
from expunge.surgery.weighted import GramianWeighting
from expunge.surgery.weighted_sum import WeightedSum

__all__ = [
    "FAMO",
    "GEM",
    "MGDA",
    "AlignedMTL",
    "BudgetSchedule",
    "CAGrad",
    "CombineFn",
    "CosineForgetWeight",
    "Direction",
    "DirectionMemory",
    "EMAMoments",
    "EUPMUFastSurgery",
    "EUPMUForm",
    "EUPMUOfficialSurgery",
    "EUPMUSurgery",
    "GDRGMASurgery",
    "GradVac",
    "GramianSurgery",
    "GramianWeighting",
    "LURSurgery",
    "LinearCombination",
    "LossIncreaseEstimate",
    "Moments",
    "NashMTL",
    "PCGrad",
    "PIController",
    "Progress",
    "Projection",
    "RobustProjection",
    "Step",
    "Surgery",
    "ToleranceSchedule",
    "TorchJDSurgery",
    "UPGrad",
    "UnionMean",
    "WeightedSum",
    "WelfordMoments",
    "gramian",
    "make_moments",
]
