"""The core: surgeries decide one update with the step they are lent. Imports torch alone."""

from expunge.surgery.annealed import Annealed
from expunge.surgery.direction import Direction, gramian
from expunge.surgery.explicit import Explicit
from expunge.surgery.fixed import Fixed
from expunge.surgery.implicit import Implicit
from expunge.surgery.implicit_fast import ImplicitFast
from expunge.surgery.implicit_published import ImplicitPublished
from expunge.surgery.lookahead import Lookahead
from expunge.surgery.pooled import Pooled
from expunge.surgery.step import Combine, Linear, Progress, Step
from expunge.surgery.surgery import Surgery
from expunge.surgery.unilateral import Unilateral
from expunge.surgery.weighted import Weighted

__all__ = [
    "Annealed",
    "Combine",
    "Direction",
    "Explicit",
    "Fixed",
    "Implicit",
    "ImplicitFast",
    "ImplicitPublished",
    "Linear",
    "Lookahead",
    "Pooled",
    "Progress",
    "Step",
    "Surgery",
    "Unilateral",
    "Weighted",
    "gramian",
]
