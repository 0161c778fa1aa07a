"""How a model is trained: the numbers of the recipe, the learning rate that follows from them, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Generator

from expunge.errors import ConfigError

Schedule = Literal["cosine", "step", "one_cycle", "constant"]
Precision = Literal["fp32", "bf16"]
OnEpoch = Callable[[int, int, float, float], None]
Augment = Callable[[Any, Generator], Any]


@dataclass(frozen=True)
class TrainRecord:
    """What training gave, measured on the training examples afterwards, in evaluation mode and without augmentation.

    Args:
        seconds: Wall clock of the whole training.
        final_loss: Mean cross entropy, without label smoothing.
        train_accuracy: Share of examples that are classified right, in [0, 1].
        epochs: Passes that were made.
    """

    seconds: float
    final_loss: float
    train_accuracy: float
    epochs: int


@dataclass(frozen=True)
class TrainSettings:
    """How a classifier is trained: SGD with momentum on cross entropy.

    Args:
        epochs: Passes over the examples, at least 1.
        batch_size: Examples per update at most; an epoch is cut into equal parts, so that no update sees a rest.
        lr: Learning rate at its peak.
        momentum: Momentum, in [0, 1).
        weight_decay: L2 penalty of all weights.
        schedule: ``cosine`` falls to 0; ``step`` falls to a tenth after half and again after three quarters of the
            updates; ``one_cycle`` rises linearly for 30 % of the updates, then falls linearly to 0; ``constant``.
        warmup_epochs: Epochs of linear rise before the schedule (``one_cycle`` has its own).
        label_smoothing: Share of the target that is spread over all classes, in [0, 1).
        precision: ``fp32``, or ``bf16`` under autocast.
        augment: Whether, or under which name, an augmentation belongs to the recipe; ``train_classifier`` gets the
            function itself.
        seed: Seed of the order, the augmentation and dropout.

    Raises:
        ConfigError: If a value is out of its range.
    """

    epochs: int = 30
    batch_size: int = 64
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Schedule = "cosine"
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    precision: Precision = "fp32"
    augment: bool | str = False
    seed: int = 0

    def __post_init__(self) -> None:
        rules = {
            "epochs": (self.epochs >= 1, "at least 1"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "lr": (0 < self.lr < math.inf, "positive"),
            "momentum": (0 <= self.momentum < 1, "in [0, 1)"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "not negative"),
            "schedule": (self.schedule in get_args(Schedule), f"one of {', '.join(get_args(Schedule))}"),
            "warmup_epochs": (0 <= self.warmup_epochs <= self.epochs, "between 0 and epochs"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "in [0, 1)"),
            "precision": (self.precision in get_args(Precision), f"one of {', '.join(get_args(Precision))}"),
            "seed": (self.seed >= 0, "not negative"),
        }
        for name, (holds, range_) in rules.items():
            if not holds:
                raise ConfigError(f"{name} to be {range_}", repr(getattr(self, name)), f"correct {name}")

    def lr_at(self, update: int, per_epoch: int) -> float:
        """Return the learning rate of an update, counted from 0.

        Args:
            update: Number of updates before this one.
            per_epoch: Updates per epoch.

        Examples:
            >>> settings = TrainSettings(epochs=4, lr=1.0, schedule="step", warmup_epochs=1)
            >>> [settings.lr_at(update, per_epoch=2) for update in range(8)]
            [0.5, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01]
        """
        updates = self.epochs * per_epoch
        warmup_updates = 0.3 * updates if self.schedule == "one_cycle" else self.warmup_epochs * per_epoch
        if update + 1 <= warmup_updates:
            return self.lr * (update + 1) / warmup_updates
        return self.lr * _schedule_factor(self.schedule, (update - warmup_updates) / max(updates - warmup_updates, 1))


def _schedule_factor(schedule: Schedule, progress: float) -> float:
    """Return the share of the peak rate when ``progress``, in [0, 1), of the updates after the rise are over."""
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "step":
        return 0.01 if progress >= 0.75 else 0.1 if progress >= 0.5 else 1.0
    return 1 - progress if schedule == "one_cycle" else 1.0
