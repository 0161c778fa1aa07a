"""Likeness of features, layer by layer: of the model with the retrained one, and with the one before unlearning."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from expunge.evaluation.features import LayerProfile, compute_cka_profile
from expunge.evaluation.metric import Metric
from expunge.evaluation.outputs import ModelOutputs, SplitPart
from expunge.metrics import Column

BATCH_SIZE = 128
"""Examples whose features are held at a time."""


class FeatureAlignment(Metric):
    """Compare the features of two networks by linear CKA.

    Args:
        part: Whose examples: forget, retain or test (of all classes).
        examples: How many of them at most, drawn at random.
        seed: Of the choice.
    """

    needs_network = True

    def __init__(self, part: SplitPart = "forget", examples: int = 512, seed: int = 0) -> None:
        self.part: SplitPart = part
        self.examples, self.seed = examples, seed

    @property
    def key(self) -> str:
        """The short name in results, with the part's name where that is not the forget examples."""
        return self.aliases[0] if self.part == "forget" else f"{self.aliases[0]}_{self.part}"

    def column(self) -> Column:
        """Return what a table says about the metric, with the part that is looked at."""
        plain = super().column()
        if self.part == "forget":
            return plain
        definition = plain.definition.replace("forget examples", f"{self.part} examples", 1)
        return plain._replace(label=f"{self.label} ({self.part})", definition=definition)

    def compute(self, model: ModelOutputs, retrained: ModelOutputs | None) -> float | None:
        """Return the mean over the layers where it can be stated."""
        values = [value for value in self.layer_values(model, retrained).values() if value is not None]
        return float(np.mean(values)) if values else None

    def evidence(self, model: ModelOutputs, retrained: ModelOutputs | None) -> Mapping[str, Any]:
        """Return the value of every layer, from the input to the output."""
        return {"layers": dict(self.layer_values(model, retrained))}

    def layer_values(self, model: ModelOutputs, retrained: ModelOutputs | None) -> LayerProfile:
        """Return the value of every layer that both networks have."""
        compared = self.comparison_model(model, retrained)
        if compared is None or compared.model_under_test is None or model.model_under_test is None:
            return {}
        sides = model.model_under_test, compared.model_under_test
        return model.get_cached(
            (self, compared), lambda: compute_cka_profile(*sides, self.part, self.examples, BATCH_SIZE, self.seed)
        )

    @abstractmethod
    def comparison_model(self, model: ModelOutputs, retrained: ModelOutputs | None) -> ModelOutputs | None:
        """Return the model to compare with."""


class RetrainedAlignment(FeatureAlignment):
    """Measure how alike features are to those of the retrained model, mean over layers (linear CKA).

    Args:
        part: Whose examples: forget, retain or test (of all classes).
        examples: How many of them at most, drawn at random.
        seed: Of the choice.
    """

    aliases = ("cka",)
    label = "CKA to retrained"
    direction = "higher"
    target = "1, but two retrained models differ too: compare with their own value"
    needs_retrained = True
    definition = (
        "Linear CKA between the features of the model and of the retrained one on forget examples, unbiased in every "
        "batch, mean over convolutions and linear layers; two networks that started alike are alike by that alone, and "
        "on examples of one class there is little to be alike in."
    )

    def comparison_model(self, model: ModelOutputs, retrained: ModelOutputs | None) -> ModelOutputs | None:
        """Return the retrained model."""
        return retrained


class OriginalAlignment(FeatureAlignment):
    """Measure how alike features are to those before unlearning, mean over layers (linear CKA).

    Args:
        part: Whose examples: forget, retain or test (of all classes).
        examples: How many of them at most, drawn at random.
        seed: Of the choice.
    """

    aliases = ("cka_original",)
    label = "CKA to original"
    target = "the value of the retrained model"
    needs_original = True
    definition = (
        "Linear CKA between the features of the model and of the one before unlearning on forget examples, unbiased in "
        "every batch, mean over convolutions and linear layers; near 1, only the last layers forgot."
    )

    def comparison_model(self, model: ModelOutputs, retrained: ModelOutputs | None) -> ModelOutputs | None:
        """Return the model before unlearning."""
        return model.original
