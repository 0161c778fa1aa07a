"""A half: one side of one update, evaluated in micro-batches with replayed randomness."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.batch import Batch, Predictor
from expunge.engine.normalisation import Policy
from expunge.engine.precision import Precision
from expunge.engine.randomness import replayed
from expunge.errors import ConfigError
from expunge.objectives import Model, Objective
from expunge.pair import Pair


@dataclass(frozen=True)
class Setting:
    """What stays the same from update to update.

    Args:
        predict: The model and how to read its logits.
        parameters: The weights that the optimiser moves.
        objectives: One for each side.
        precision: How losses are computed and scaled.
        policy: Whose normalisation statistics an update uses.
        micro_batches: In how many parts each half is processed.
    """

    predict: Predictor
    parameters: list[Tensor]
    objectives: Pair[Objective]
    precision: Precision
    policy: Policy = "frozen"
    micro_batches: int = 1

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.precision.device


class Half:
    """The examples of one side of an update.

    Args:
        setting: What stays the same from update to update.
        objective: The side's objective.
        batch: The side's examples; may be empty.
        seed: Of the randomness inside the model (dropout), replayed at each evaluation.
    """

    def __init__(self, setting: Setting, objective: Objective, batch: Batch, seed: int) -> None:
        self.setting, self.objective, self.seed = setting, objective, seed
        refuse_parts(objective, setting.micro_batches)
        self.chunks = batch.chunks(setting.micro_batches) if len(batch) else ()
        self.shares = [len(chunk) / len(batch) for chunk in self.chunks]

    def __len__(self) -> int:
        """Return the number of micro-batches; 0 for an empty side."""
        return len(self.chunks)

    def part(self, index: int, model: Model | None = None) -> Tensor:
        """Return micro-batch ``index``'s contribution to the mean loss: its own mean times its share of examples."""
        setting = self.setting
        with replayed(self.seed + index, setting.device), setting.precision.autocast():
            loss = self.objective(model or setting.predict, self.chunks[index])
        return loss * self.shares[index] if len(self.chunks) > 1 else loss

    @torch.no_grad()
    def mean(self) -> Tensor:
        """Return the mean loss, forward only."""
        return torch.stack([self.part(index) for index in range(len(self))]).sum()


def refuse_parts(objective: Objective, micro_batches: int) -> None:
    """Refuse micro-batches for an objective that weighs the examples of a batch against one another.

    Raises:
        ConfigError: If it does, and there are to be any.
    """
    if objective.batchwise and micro_batches > 1:
        found = f"{micro_batches} micro-batches"
        raise ConfigError(f"whole batches for {type(objective).__name__}", found, "use micro_batches=1")
