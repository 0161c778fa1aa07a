"""Trackers: services that show the course of a run while it goes on; all optional, and none sees data."""

from expunge.loggers.logger import Logger
from expunge.loggers.logger_group import LoggerGroup, as_logger_group, build_logger
from expunge.loggers.mlflow import MLflow
from expunge.loggers.tensorboard import TensorBoard
from expunge.loggers.trackio import Trackio
from expunge.loggers.wandb import WandB

__all__ = ["Logger", "LoggerGroup", "MLflow", "TensorBoard", "Trackio", "WandB", "as_logger_group", "build_logger"]
