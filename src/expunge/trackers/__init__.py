"""Trackers: services that show the course of a run while it goes on; all optional, and none sees data."""

from expunge.trackers.mlflow import MLflow
from expunge.trackers.tensorboard import TensorBoard
from expunge.trackers.tracker import Tracker
from expunge.trackers.trackio import Trackio
from expunge.trackers.tracks import Tracks, as_tracks, build_tracker
from expunge.trackers.wandb import WandB

__all__ = ["MLflow", "TensorBoard", "Tracker", "Trackio", "Tracks", "WandB", "as_tracks", "build_tracker"]
