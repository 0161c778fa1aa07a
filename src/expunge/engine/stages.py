"""Stages: what a recipe consists of, as data that the engine carries out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from expunge.batch import Predictor, Split
from expunge.data.sampler import Pairing as Pairing
from expunge.engine.batch_norm import BatchNormMode
from expunge.masks import Mask
from expunge.objectives import Objective
from expunge.pair import Pair
from expunge.surgery import Surgery

Schedule = Literal["constant", "cosine"]
OptimizerName = Literal["sgd", "adamw", "adamw8bit"]


@dataclass(frozen=True)
class EditStage:
    """Change the model in closed form: re-initialize, trim, dampen.

    Args:
        apply: Changes ``predict.model`` in place, given the split; called without gradients being recorded.
        label: What it does, for progress displays.
    """

    apply: Callable[[Predictor, Split], None]
    label: str = "edit"


@dataclass(frozen=True)
class OptimizerConfig:
    """How a stage moves weights.

    Args:
        lr: Learning rate η > 0.
        name: ``sgd``, ``adamw``, or ``adamw8bit``, whose memory is a quarter of it. Default SGD.
        momentum: Heavy-ball momentum of SGD. Default .9.
        weight_decay: Default 5e-4.
        schedule: ``constant`` (default) or ``cosine`` to 0 over the stage.
        max_grad_norm: Largest norm of the gradient given to the optimizer. Default: none.
    """

    lr: float
    name: OptimizerName = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Schedule = "constant"
    max_grad_norm: float | None = None


@dataclass(frozen=True)
class TrainStage:
    """Descend two objectives by a surgery, for a number of passes over the data.

    Args:
        objectives: What is minimized on each side.
        surgery: The rule.
        optimizer: How weights move.
        epochs: Passes; over D_r in mode ``paired``, ``retain``, ``interleaved`` and ``leading``, D_f in ``forget``, the
            union in ``mixed`` and ``blocks``.
        batch_size: Examples a side and update. In mode ``mixed`` their sum is the size of a batch.
        pairing: How batches are paired.
        mask: Which coordinates may move. Default: all.
        batch_norm: Policy that the stage insists on. Default: the run's.
        retain_per_forget: Retain updates for each forget update in mode ``interleaved``. Default 1.
    """

    objectives: Pair[Objective]
    surgery: Surgery
    optimizer: OptimizerConfig
    epochs: int
    batch_size: Pair[int]
    pairing: Pairing = "paired"
    mask: Mask | None = None
    batch_norm: BatchNormMode | None = None
    retain_per_forget: int = 1


Measurements = Mapping[str, float]


@dataclass(frozen=True)
class SelectStage:
    """Go back to the best of the iterates that the descents right before it left: the start and each epoch's end.

    Args:
        measure: Reads a model, in evaluation mode; must leave it as it is.
        rule: Returns the index of the reading to go back to: 0 is the start, the last one the end.
        label: What it does, for progress displays.

    Examples:
        >>> rule = lambda readings: min(range(len(readings)), key=lambda i: readings[i]["gap"])
        >>> SelectStage(lambda predict, split: {"gap": 0.0}, rule).rule([{"gap": 2.0}, {"gap": 1.0}])
        1
    """

    measure: Callable[[Predictor, Split], Measurements]
    rule: Callable[[Sequence[Measurements]], int]
    label: str = "select"


Stage = EditStage | TrainStage | SelectStage


@dataclass(frozen=True)
class MethodRecipe:
    """A method, ready to be carried out: its stages in order."""

    stages: tuple[Stage, ...] = field(default_factory=tuple)
