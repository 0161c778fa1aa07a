"""Stages: what a recipe consists of, as data that the engine carries out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from expunge.batch import Split
from expunge.data.stream import Mode as Mode
from expunge.engine.normalisation import Policy
from expunge.masks import Mask
from expunge.objectives import Objective
from expunge.pair import Pair
from expunge.surgery import Surgery

Schedule = Literal["constant", "cosine"]


@dataclass(frozen=True)
class Edit:
    """Change the model in closed form: re-initialise, trim, dampen.

    Args:
        apply: Changes the model in place, given the split.
        label: What it does, for progress displays.
    """

    apply: Callable[[nn.Module, Split], None]
    label: str = "edit"


@dataclass(frozen=True)
class Optimiser:
    """How a stage moves weights.

    Args:
        rate: Learning rate η > 0.
        name: ``sgd`` or ``adamw``. Default SGD.
        momentum: Heavy-ball momentum of SGD. Default .9.
        weight_decay: Default 5e-4.
        schedule: ``constant`` (default) or ``cosine`` to 0 over the stage.
        clip: Largest norm of the gradient given to the optimiser. Default: none.
    """

    rate: float
    name: Literal["sgd", "adamw"] = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Schedule = "constant"
    clip: float | None = None


@dataclass(frozen=True)
class Descend:
    """Descend two objectives by a surgery, for a number of passes over the data.

    Args:
        objectives: What is minimised on each side.
        surgery: The rule.
        optimiser: How weights move.
        epochs: Passes; over D_r in mode ``paired`` and ``retain``, D_f in ``forget``, the union in ``mixed``.
        batch: Examples a side and update. In mode ``mixed`` their sum is the size of a batch.
        mode: How batches are paired.
        mask: Which coordinates may move. Default: all.
        normalisation: Policy that the stage insists on. Default: the run's.
    """

    objectives: Pair[Objective]
    surgery: Surgery
    optimiser: Optimiser
    epochs: int
    batch: Pair[int]
    mode: Mode = "paired"
    mask: Mask | None = None
    normalisation: Policy | None = None


Stage = Edit | Descend


@dataclass(frozen=True)
class Recipe:
    """A method, ready to be carried out: its stages in order."""

    stages: tuple[Stage, ...] = field(default_factory=tuple)
