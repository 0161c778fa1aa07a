"""Shadow models: many small classifiers, each trained on its own part of the data, made at once and kept on disk."""

from expunge.shadows.calibration import Calibration, calibrate
from expunge.shadows.lesson import Lesson
from expunge.shadows.plan import Shadow, halves
from expunge.shadows.store import Store, hashed
from expunge.shadows.together import train_together
from expunge.shadows.train import Training, train_shadows

__all__ = [
    "Calibration",
    "Lesson",
    "Shadow",
    "Store",
    "Training",
    "calibrate",
    "halves",
    "hashed",
    "train_shadows",
    "train_together",
]
