"""Conditions: under which a recipe is carried out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from expunge.engine.actions import CONTINUE, LoopAction
from expunge.engine.checkpoints import CheckpointManager
from expunge.engine.precision import PrecisionName
from expunge.surgery import Progress

HistoryRow = dict[str, Any]


def noop(*_: Any) -> None:
    """Take anything and do nothing: the callback of who does not want one."""


EvalWeights = Callable[[], AbstractContextManager[None]]
"""Opens a context in which the model has the weights that are judged and handed over."""


def always_continue(_: Progress, __: EvalWeights) -> LoopAction:
    """Go on as before."""
    return CONTINUE


@dataclass(frozen=True)
class RunOptions:
    """Under which a recipe is carried out; none of it belongs to a method.

    Args:
        seed: Of the order of examples, of what objectives draw and of dropout. Default 0.
        batch_norm: ``frozen`` (default), ``joint`` or ``separate``.
        gradient_accumulation_steps: Parts of each half batch. Default 1.
        precision: ``fp32`` (default), ``bf16`` or ``fp16``.
        channels_last: Hold the weights of convolutions with channels last meanwhile. Default None: on accelerators.
        compile: Pass batches through the model by ``torch.compile`` while stages descend. Default false.
        log_gradients_every: Inner products of gradients are recorded at every so many updates; 0 never. Default 10.
        log_every: The device is waited for at every so many updates, to write history and to look for NaN.
            Default 25.
        distributed: Share the examples of every update with the other processes of torch.distributed, which carry out
            the same recipe on the same data. Default false.
        ema_decay: β of a running mean of the weights (``ModelEMA``), which is what selections see and what is handed
            over. Default None: the weights themselves.
        on_step: Called with the progress after every update; a ``LoopAction`` that it returns is carried out.
        on_log: Called with new rows of the history.
        on_update: Called after every update, after ``on_step``, with the progress and with what shows the weights that
            are judged; says whether and how to go on.
        checkpoints: Where the run's state is saved, and what of it there is already. Default: nowhere.
    """

    seed: int = 0
    batch_norm: str = "frozen"
    gradient_accumulation_steps: int = 1
    precision: PrecisionName = "fp32"
    channels_last: bool | None = None
    compile: bool = False
    log_gradients_every: int = 10
    log_every: int = 25
    distributed: bool = False
    ema_decay: float | None = None
    on_step: Callable[[Progress], Any] = noop
    on_log: Callable[[list[HistoryRow]], None] = noop
    on_update: Callable[[Progress, EvalWeights], LoopAction] = always_continue
    checkpoints: CheckpointManager | None = None
