"""Conditions: under which a recipe is carried out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from expunge.engine.guidance import STEADY, Guidance
from expunge.engine.precision import Format
from expunge.engine.savepoints import Savepoints
from expunge.surgery import Progress

Row = dict[str, Any]


def ignore(*_: Any) -> None:
    """Take anything and do nothing: the callback of who does not want one."""


Judged = Callable[[], AbstractContextManager[None]]
"""Opens a context in which the model has the weights that are judged and handed over."""


def steady(_: Progress, __: Judged) -> Guidance:
    """Go on as before."""
    return STEADY


@dataclass(frozen=True)
class Conditions:
    """Under which a recipe is carried out; none of it belongs to a method.

    Args:
        seed: Of the order of examples, of what objectives draw and of dropout. Default 0.
        normalisation: ``frozen`` (default), ``joint`` or ``separate``.
        micro_batches: Parts of each half batch. Default 1.
        precision: ``fp32`` (default), ``bf16`` or ``fp16``.
        channels_last: Hold the weights of convolutions with channels last meanwhile. Default None: on accelerators.
        compile: Pass batches through the model by ``torch.compile`` while stages descend. Default false.
        observe_every: Inner products of gradients are recorded at every so many updates; 0 never. Default 10.
        read_every: The device is waited for at every so many updates, to write history and to look for NaN.
            Default 25.
        shared: Share the examples of every update with the other processes of torch.distributed, which carry out the
            same recipe on the same data. Default false.
        average: β of a running mean of the weights (``Average``), which is what selections see and what is handed over.
            Default None: the weights themselves.
        on_step: Called with the progress after every update.
        on_rows: Called with new rows of the history.
        guide: Called after every update, after ``on_step``, with the progress and with what shows the weights that
            are judged; says whether and how to go on.
        savepoints: Where the run's state is saved, and what of it there is already. Default: nowhere.
    """

    seed: int = 0
    normalisation: str = "frozen"
    micro_batches: int = 1
    precision: Format = "fp32"
    channels_last: bool | None = None
    compile: bool = False
    observe_every: int = 10
    read_every: int = 25
    shared: bool = False
    average: float | None = None
    on_step: Callable[[Progress], None] = ignore
    on_rows: Callable[[list[Row]], None] = ignore
    guide: Callable[[Progress, Judged], Guidance] = steady
    savepoints: Savepoints | None = None
