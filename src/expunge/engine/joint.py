"""Joint evaluation: one forward pass over both halves, so that normalization layers see the union."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from expunge.batch import Batch, map_tensors
from expunge.engine.randomness import seeded_rng
from expunge.engine.side_batch import SideBatch, StepConfig
from expunge.errors import ObjectiveError
from expunge.pair import Pair


class PrecomputedModel:
    """Stands in for the model and answers for one batch with logits that were computed before."""

    def __init__(self, inputs: Any, logits: Tensor) -> None:
        self.inputs, self.logits = inputs, logits

    def __call__(self, inputs: Any) -> Tensor:
        """Return the logits of the batch's own inputs."""
        if inputs is not self.inputs:
            actual = "an objective that evaluates other inputs than its batch's"
            raise ObjectiveError("one model call with batch.inputs", actual, "use batch_norm='separate' or 'frozen'")
        return self.logits


def joint_losses(config: StepConfig, sides: Pair[SideBatch], index: int) -> Pair[Tensor | None]:
    """Return both sides' contributions to their mean losses from one forward pass; None where a side has no part."""
    chunks = [side.chunks[index] if index < len(side) else None for side in sides]
    present = [chunk for chunk in chunks if chunk is not None]
    with seeded_rng(sides.forget.seed + index, config.device), config.precision.autocast():
        logits = list(config.predict(concat_inputs(present)).split([len(chunk) for chunk in present]))
    losses = []
    for side, chunk in zip(sides, chunks, strict=True):
        losses.append(
            None if chunk is None else side.micro_batch_loss(index, PrecomputedModel(chunk.inputs, logits.pop(0)))
        )
    return Pair(*losses)


def concat_inputs(batches: list[Batch]) -> Any:
    if len(batches) == 1:
        return batches[0].inputs
    first, second = batches
    if isinstance(first.inputs, Tensor):
        return torch.cat([first.inputs, second.inputs])
    rest = iter(flatten_tensors(second.inputs))
    return map_tensors(first.inputs, lambda tensor: torch.cat([tensor, next(rest)]))


def flatten_tensors(value: Any) -> list[Tensor]:
    """Return the tensors of nested inputs in the order in which ``on_tensors`` visits them."""
    tensors: list[Tensor] = []
    map_tensors(value, lambda tensor: tensors.append(tensor) or tensor)  # type: ignore[func-returns-value]
    return tensors
