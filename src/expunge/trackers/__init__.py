"""Trackers: services that show the course of a run while it goes on; all optional, and none sees data."""

from expunge.trackers.mlflow import MLflow
from expunge.trackers.tensorboard import TensorBoard
from expunge.trackers.tracker import Tracker
from expunge.trackers.tracker_group import TrackerGroup, as_tracker_group, build_tracker
from expunge.trackers.trackio import Trackio
from expunge.trackers.wandb import WandB

__all__ = ["MLflow", "TensorBoard", "Tracker", "TrackerGroup", "Trackio", "WandB", "as_tracker_group", "build_tracker"]
