"""Joint evaluation: one forward pass over both halves, so that normalisation layers see the union."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from expunge.batch import Batch, on_tensors
from expunge.engine.half import Half, Setting
from expunge.engine.randomness import replayed
from expunge.errors import ObjectiveError
from expunge.pair import Pair


class Replay:
    """Stands in for the model and answers for one batch with logits that were computed before."""

    def __init__(self, inputs: Any, logits: Tensor) -> None:
        self.inputs, self.logits = inputs, logits

    def __call__(self, inputs: Any) -> Tensor:
        """Return the logits of the batch's own inputs."""
        if inputs is not self.inputs:
            found = "an objective that evaluates other inputs than its batch's"
            raise ObjectiveError("one model call with batch.inputs", found, "use normalisation='separate' or 'frozen'")
        return self.logits


def joint_parts(setting: Setting, halves: Pair[Half], index: int) -> Pair[Tensor | None]:
    """Return both sides' contributions to their mean losses from one forward pass; None where a side has no part."""
    chunks = [half.chunks[index] if index < len(half) else None for half in halves]
    present = [chunk for chunk in chunks if chunk is not None]
    with replayed(halves.forget.seed + index, setting.device), setting.precision.autocast():
        logits = list(setting.predict(union(present)).split([len(chunk) for chunk in present]))
    losses = []
    for half, chunk in zip(halves, chunks, strict=True):
        losses.append(None if chunk is None else half.part(index, Replay(chunk.inputs, logits.pop(0))))
    return Pair(*losses)


def union(batches: list[Batch]) -> Any:
    """Return the inputs of all batches as one."""
    if len(batches) == 1:
        return batches[0].inputs
    first, second = batches
    if isinstance(first.inputs, Tensor):
        return torch.cat([first.inputs, second.inputs])
    rest = iter(tensors_in(second.inputs))
    return on_tensors(first.inputs, lambda tensor: torch.cat([tensor, next(rest)]))


def tensors_in(value: Any) -> list[Tensor]:
    """Return the tensors of nested inputs in the order in which ``on_tensors`` visits them."""
    found: list[Tensor] = []
    on_tensors(value, lambda tensor: found.append(tensor) or tensor)  # type: ignore[func-returns-value]
    return found
