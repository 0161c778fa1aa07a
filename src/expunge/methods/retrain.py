"""Retrain: train again from scratch without the forgotten examples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from expunge.batch import Predictor, Split
from expunge.engine import EditStage, MethodRecipe, Schedule, TrainStage
from expunge.methods.method import Method
from expunge.objectives import CrossEntropy
from expunge.objectives.teacher import reset_weights
from expunge.surgery import WeightedSum


@dataclass(frozen=True, kw_only=True)
class Retrain(Method):
    """Re-initialize every weight and train on the retain set D_r: the reference that unlearning approximates.

    Formula: θ_r = argmin_θ L_r(θ) from a new initialization. It removes the forgotten examples exactly, at the price
    of a training.

    Args:
        epochs: Passes over D_r. Default 60.
        lr: Learning rate. Default .1.
        schedule: Default cosine.
        max_grad_norm: Default none, as trainings usually have none.

    Raises:
        ModelError: When carried out, before anything is changed, if a part of the model does not know how to
            re-initialize itself (``reset_parameters``); pass a freshly built model and ``method="ft"`` then.

    Examples:
        >>> [type(stage).__name__ for stage in Retrain().recipe().stages]
        ['EditStage', 'TrainStage']

    Differences from the usual practice: none but the optimizer's settings, which should be those of the original.
    """

    aliases: ClassVar[tuple[str, ...]] = ("exact", "from_scratch")
    paper: ClassVar[str] = "the exact reference"
    label: ClassVar[str] = "Retrain"

    epochs: int = 60
    lr: float = 0.1
    schedule: Schedule = "cosine"
    max_grad_norm: float | None = None

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return re-initialization followed by training on the retain set."""
        training = self.make_recipe(CrossEntropy(), CrossEntropy(), WeightedSum(0.0, 1.0), pairing="retain")
        # Statistics that have just been reset must not be frozen; each batch's own are ordinary training.
        stages = (replace(stage, batch_norm="separate") for stage in training.stages if isinstance(stage, TrainStage))
        return MethodRecipe((EditStage(reinitialize, "re-initialize"), *stages))


def reinitialize(predict: Predictor, data: Split) -> None:
    """Re-initialize every weight and every statistic of a model in place; see ``reset_weights``."""
    reset_weights(predict.model)
