"""The core: surgeries decide one update with the step they are lent. Imports torch alone."""

from expunge.surgery.aggregated import Aggregated
from expunge.surgery.aligned_mtl import AlignedMTL
from expunge.surgery.annealed import Annealed
from expunge.surgery.cagrad import CAGrad
from expunge.surgery.cumulative import Cumulative
from expunge.surgery.direction import Direction, gramian
from expunge.surgery.episodic import Episodic
from expunge.surgery.explicit import Explicit
from expunge.surgery.famo import FAMO
from expunge.surgery.fixed import Fixed
from expunge.surgery.gdr_gma import GDRGMA
from expunge.surgery.gradvac import GradVac
from expunge.surgery.implicit import Implicit
from expunge.surgery.implicit_fast import ImplicitFast
from expunge.surgery.implicit_published import ImplicitPublished
from expunge.surgery.lookahead import Lookahead
from expunge.surgery.mgda import MGDA
from expunge.surgery.moments import EMA, Moments, Welford, moments_of
from expunge.surgery.nash_mtl import NashMTL
from expunge.surgery.noise_aware import NoiseAware
from expunge.surgery.pcgrad import PCGrad
from expunge.surgery.pooled import Pooled
from expunge.surgery.remembering import Remembering
from expunge.surgery.scheduled import Scheduled
from expunge.surgery.step import Combine, Linear, Progress, Step
from expunge.surgery.surgery import Surgery
from expunge.surgery.tolerance_schedule import ToleranceSchedule
from expunge.surgery.unilateral import Unilateral
from expunge.surgery.upgrad import UPGrad
from expunge.surgery.utility import UtilityLoss
from expunge.surgery.weighted import Weighted

__all__ = [
    "EMA",
    "FAMO",
    "GDRGMA",
    "MGDA",
    "Aggregated",
    "AlignedMTL",
    "Annealed",
    "CAGrad",
    "Combine",
    "Cumulative",
    "Direction",
    "Episodic",
    "Explicit",
    "Fixed",
    "GradVac",
    "Implicit",
    "ImplicitFast",
    "ImplicitPublished",
    "Linear",
    "Lookahead",
    "Moments",
    "NashMTL",
    "NoiseAware",
    "PCGrad",
    "Pooled",
    "Progress",
    "Remembering",
    "Scheduled",
    "Step",
    "Surgery",
    "ToleranceSchedule",
    "UPGrad",
    "Unilateral",
    "UtilityLoss",
    "Weighted",
    "Welford",
    "gramian",
    "moments_of",
]
