"""SCRUB: disobey the original on what is forgotten, obey it on what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Examples, Predictor, Split, device_of
from expunge.engine import Measurements, MethodRecipe, SelectStage, TrainStage
from expunge.errors import ConfigError
from expunge.methods.method import Method
from expunge.objectives import Distillation, NegativeKL, Objective
from expunge.objectives.holdout_distillation import validate_holdout
from expunge.pair import Pair
from expunge.surgery import WeightedSum


@dataclass(frozen=True, kw_only=True)
class Scrub(Method):
    """Disobey the original on D_f and obey it on D_r, pass by pass in turn (SCRUB).

    Paper: "Towards Unbounded Machine Unlearning" (Kurmanji et al., NeurIPS 2023, arXiv 2302.09880).

    Formula: a max pass descends −τ² KL(p₀ ‖ p) over D_f, a min pass α τ² KL(p₀ ‖ p) + γ CE over D_r, both KLs between
    predictions softened by τ. The first ``max_epochs`` epochs are a max pass and a min pass, the others a min pass.
    Rewinding goes back to the end of that epoch whose error on D_f is nearest to the error of the last model on
    held-out examples with D_f's distribution of classes, which estimates what D_f's would be had it never been seen.

    Args:
        epochs: Default 3 (this and the following: the authors' large-scale CIFAR-10 run).
        max_epochs: How many of them begin with a max pass. Default 2.
        temperature: τ > 0. Default 4.
        alpha: α ≥ 0. Default .001.
        gamma: γ ≥ 0. Default .99.
        lr: Default 5e-4.
        batch_size: Default 256.
        forget_batch_size: Default 512, of the max passes.
        rewind: Go back as described: SCRUB+R. Default false; ``scrub_r`` has it on.

    Raises:
        ConfigError: If max_epochs is negative.
        ObjectiveError: When carried out with ``rewind``, without held-out examples of every class in D_f.

    Examples:
        >>> [(stage.pairing, stage.epochs) for stage in Scrub().recipe().stages]
        [('blocks', 2), ('retain', 1)]

    Differences from the authors' code: theirs clips nothing, and normalizes by batch statistics; under ``frozen`` ones
    and without dropout the model *is* the original in the first max pass, whose slope is then 0: pass
    ``batch_norm="separate"`` for theirs. The optimizer begins anew (no momentum) after the last epoch with a max
    pass. Held-out errors are weighted by D_f's classes instead of being measured on a subset drawn like it. Two equally
    near epochs: the later one.
    """

    paper: ClassVar[str] = "Kurmanji et al., NeurIPS 2023"
    label: ClassVar[str] = "SCRUB"

    epochs: int = 3
    max_epochs: int = 2
    temperature: float = 4.0
    alpha: float = 0.001
    gamma: float = 0.99
    lr: float = 5e-4
    batch_size: int = 256
    forget_batch_size: int | None = 512
    rewind: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        super().__post_init__()
        if self.max_epochs < 0:
            raise ConfigError("max_epochs ≥ 0", f"{self.max_epochs}", "change it")

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return the descent with max passes, that without, and the selection."""
        first = min(self.max_epochs, self.epochs)
        stages = [replace(self.make_training_stage(), pairing="blocks", epochs=first)] if first else []
        if self.epochs > first:
            stages.append(replace(self.make_training_stage(), pairing="retain", epochs=self.epochs - first))
        return (
            MethodRecipe((*stages, SelectStage(measure_errors, select_epoch, "rewind")))
            if self.rewind
            else MethodRecipe(tuple(stages))
        )

    def make_training_stage(self) -> TrainStage:
        """Return a stage with both objectives."""
        pair: Pair[Objective] = Pair(
            NegativeKL(self.temperature), Distillation(self.temperature, self.alpha, self.gamma)
        )
        return self.make_stage(pair.forget, pair.retain, WeightedSum(1.0, 1.0))


def measure_errors(predict: Predictor, data: Split) -> Measurements:
    """Return the error on D_f, and on held-out examples weighted to D_f's distribution of classes, both in [0, 1]."""
    holdout = validate_holdout(data)
    class_fractions = torch.bincount(data.forget.targets, minlength=data.num_classes).double() / len(data.forget)
    by_class = class_errors(predict, holdout, data.num_classes)
    return {
        "forget": float(errors_per_example(predict, data.forget).mean()),
        "held_out": float((class_fractions * by_class).sum()),
    }


def class_errors(predict: Predictor, examples: Examples, classes: int) -> Tensor:
    counts = torch.bincount(examples.targets, minlength=classes)
    num_errors = torch.bincount(examples.targets, weights=errors_per_example(predict, examples), minlength=classes)
    return num_errors / counts.clamp(min=1)


def errors_per_example(predict: Predictor, examples: Examples, batch_size: int = 256) -> Tensor:
    """Return for each example 1.0 where it is misjudged, (n,) float64."""
    device = device_of(predict.model)
    parts = [examples.batch(part).to(device) for part in torch.arange(len(examples)).split(batch_size)]
    return torch.cat([(predict(part.inputs).argmax(1) != part.targets).double().cpu() for part in parts])


def select_epoch(measurements: Sequence[Measurements]) -> int:
    """Return the epoch whose forget error is nearest to the last model's held-out error; never the start, 0.

    Examples:
        >>> select_epoch([{"forget": error, "held_out": 0.2} for error in (0.2, 0.3, 0.9)])
        1
    """
    reference = measurements[-1]["held_out"]
    return min(range(len(measurements) - 1, 0, -1), key=lambda index: abs(measurements[index]["forget"] - reference))
