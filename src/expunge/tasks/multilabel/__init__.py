"""Models that say of each of several labels whether an example carries it."""

from expunge.tasks.multilabel.metrics import mean_average_precision
from expunge.tasks.multilabel.task import BinaryCrossEntropy, Multilabel

__all__ = ["BinaryCrossEntropy", "Multilabel", "mean_average_precision"]
