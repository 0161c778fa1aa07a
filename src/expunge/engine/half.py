"""A half: one side of one update, evaluated in micro-batches with replayed randomness."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from expunge.batch import Batch, Predictor
from expunge.engine.normalisation import Policy
from expunge.engine.precision import Precision
from expunge.engine.randomness import replayed
from expunge.engine.ranks import Ranks
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
        ranks: The processes that share the examples. Default: this one has all.
    """

    predict: Predictor
    parameters: list[Tensor]
    objectives: Pair[Objective]
    precision: Precision
    policy: Policy = "frozen"
    micro_batches: int = 1
    ranks: Ranks = field(default_factory=Ranks)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.precision.device


class Half:
    """The examples of one side of an update.

    Args:
        setting: What stays the same from update to update.
        objective: The side's objective.
        batch: The side's examples on this rank; may be empty.
        seed: Of the randomness inside the model (dropout), replayed at each evaluation.

    Attributes:
        total: Number of examples on all ranks.
        shares: Of each micro-batch in them.
    """

    def __init__(self, setting: Setting, objective: Objective, batch: Batch, seed: int) -> None:
        self.setting, self.objective, self.seed = setting, objective, seed
        refuse_parts(objective, setting.micro_batches)
        most, self.total, counts = len(batch), len(batch), True
        if batch.place is not None:
            most, self.total, counts = batch.place.most, batch.place.total, batch.place.counts
        self.chunks = batch.chunks(setting.micro_batches) if len(batch) else ()
        self.shares = [counts * len(chunk) / self.total for chunk in self.chunks]
        # Every rank goes through as many passes as the one with most examples: the others wait for it.
        missing = min(setting.micro_batches, most) - len(self.chunks)
        self.chunks, self.shares = self.chunks + self.chunks[-1:] * missing, self.shares + [0.0] * missing

    def __len__(self) -> int:
        """Return the number of micro-batches, the same on all ranks; 0 for an empty side."""
        return len(self.chunks)

    def part(self, index: int, model: Model | None = None) -> Tensor:
        """Return micro-batch ``index``'s contribution to the mean loss: its own mean times its share of examples."""
        setting = self.setting
        with replayed(self.seed + index, setting.device), setting.precision.autocast():
            loss = self.objective(model or setting.predict, self.chunks[index])
        return loss if self.shares[index] == 1.0 else loss * self.shares[index]

    @torch.no_grad()
    def mean(self) -> Tensor:
        """Return the mean loss over the examples of all ranks, forward only."""
        return self.setting.ranks.total(torch.stack([self.part(index) for index in range(len(self))]).sum())


def refuse_parts(objective: Objective, micro_batches: int) -> None:
    """Refuse micro-batches for an objective that weighs the examples of a batch against one another.

    Raises:
        ConfigError: If it does, and there are to be any.
    """
    if objective.batchwise and micro_batches > 1:
        found = f"{micro_batches} micro-batches"
        raise ConfigError(f"whole batches for {type(objective).__name__}", found, "use micro_batches=1")
