"""A half: one side of one update, evaluated in micro-batches with replayed randomness."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from expunge.batch import Batch, Predictor
from expunge.engine.batch_norm import BatchNormMode
from expunge.engine.data_parallel import DataParallelContext
from expunge.engine.precision import Precision
from expunge.engine.randomness import seeded_rng
from expunge.errors import ConfigError
from expunge.objectives import Model, Objective
from expunge.pair import Pair


@dataclass(frozen=True)
class StepConfig:
    """What stays the same from update to update.

    Args:
        predict: The model and how to read its logits.
        parameters: The weights that the optimizer moves.
        objectives: One for each side.
        precision: How losses are computed and scaled.
        batch_norm: Whose normalization statistics an update uses.
        gradient_accumulation_steps: In how many parts each half is processed.
        ranks: The processes that share the examples. Default: this one has all.
    """

    predict: Predictor
    parameters: list[Tensor]
    objectives: Pair[Objective]
    precision: Precision
    batch_norm: BatchNormMode = "frozen"
    gradient_accumulation_steps: int = 1
    ranks: DataParallelContext = field(default_factory=DataParallelContext)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.precision.device


class SideBatch:
    """The examples of one side of an update.

    Args:
        config: What stays the same from update to update.
        objective: The side's objective.
        batch: The side's examples on this rank; may be empty.
        seed: Of the randomness inside the model (dropout), replayed at each evaluation.

    Attributes:
        total: Number of examples on all ranks.
        fractions: Of each micro-batch in them.
    """

    def __init__(self, config: StepConfig, objective: Objective, batch: Batch, seed: int) -> None:
        self.config, self.objective, self.seed = config, objective, seed
        check_micro_batches(objective, config.gradient_accumulation_steps)
        max_per_rank, self.total, contributes = len(batch), len(batch), True
        if batch.shard is not None:
            max_per_rank, self.total, contributes = batch.shard.max_per_rank, batch.shard.total, batch.shard.contributes
        self.chunks = batch.chunks(config.gradient_accumulation_steps) if len(batch) else ()
        self.fractions = [contributes * len(chunk) / self.total for chunk in self.chunks]
        # Every rank goes through as many passes as the one with most examples: the others wait for it.
        missing = min(config.gradient_accumulation_steps, max_per_rank) - len(self.chunks)
        self.chunks, self.fractions = self.chunks + self.chunks[-1:] * missing, self.fractions + [0.0] * missing

    def __len__(self) -> int:
        """Return the number of micro-batches, the same on all ranks; 0 for an empty side."""
        return len(self.chunks)

    def micro_batch_loss(self, index: int, model: Model | None = None) -> Tensor:
        """Return micro-batch ``index``'s contribution to the mean loss: its own mean times its share of examples."""
        config = self.config
        with seeded_rng(self.seed + index, config.device), config.precision.autocast():
            loss = self.objective(model or config.predict, self.chunks[index])
        return loss if self.fractions[index] == 1.0 else loss * self.fractions[index]

    @torch.no_grad()
    def forward_loss(self) -> Tensor:
        """Return the mean loss over the examples of all ranks, forward only."""
        return self.config.ranks.all_reduce(
            torch.stack([self.micro_batch_loss(index) for index in range(len(self))]).sum()
        )


def check_micro_batches(objective: Objective, gradient_accumulation_steps: int) -> None:
    """Refuse micro-batches for an objective that weighs the examples of a batch against one another."""
    if objective.couples_examples and gradient_accumulation_steps > 1:
        actual = f"{gradient_accumulation_steps} micro-batches"
        raise ConfigError(f"whole batches for {type(objective).__name__}", actual, "use gradient_accumulation_steps=1")
