"""``ShadowTrainingConfig``: what the shadow models of one training learn, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from expunge.batch import Examples, Predictor
from expunge.data import Subset
from expunge.shadows.plan import Shadow
from expunge.tasks.classification.training import Augment, ClassifierTrainer
from expunge.tasks.train_settings import TrainSettings


@dataclass(frozen=True)
class ShadowTrainingConfig:
    """What several networks are trained on, each on its own part, and how.

    Args:
        examples: What ``Shadow.positions`` count in.
        settings: How each is trained; the seed is the shadow's own.
        augment: As for ``fit``. Default none.
        logits: As for ``fit``. Default none.
    """

    examples: Examples
    settings: TrainSettings
    augment: Augment | None = None
    logits: Callable[[Any], Tensor] | None = None

    def settings_for(self, shadow: Shadow) -> TrainSettings:
        """Return the settings with the seed of a shadow model."""
        return replace(self.settings, seed=shadow.seed)

    def make_run(self, model: nn.Module, shadow: Shadow, device: torch.device) -> ClassifierTrainer:
        """Return the plain training of one network."""
        part = Subset(self.examples, shadow.positions)
        return ClassifierTrainer(Predictor(model, self.logits), part, self.settings_for(shadow), device, self.augment)
