"""Shadow models: many small classifiers, each trained on its own part of the data, made at once and kept on disk."""

from expunge.shadows.config import ShadowTrainingConfig
from expunge.shadows.plan import Shadow, draw_complementary_halves
from expunge.shadows.speed_test import SpeedTest, measure_speed
from expunge.shadows.stacked import train_stacked
from expunge.shadows.store import ShadowStore, hash_values
from expunge.shadows.train import ShadowTraining, train_shadows

__all__ = [
    "Shadow",
    "ShadowStore",
    "ShadowTraining",
    "ShadowTrainingConfig",
    "SpeedTest",
    "draw_complementary_halves",
    "hash_values",
    "measure_speed",
    "train_shadows",
    "train_stacked",
]
