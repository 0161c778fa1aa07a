"""Models that predict numbers."""

from expunge.tasks.regression.metrics import r2_score
from expunge.tasks.regression.task import Regression, SquaredError

__all__ = ["Regression", "SquaredError", "r2_score"]
