"""OtherClass: let the forgotten class be what another class is."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Batch, Predictor, Split
from expunge.errors import ObjectiveError
from expunge.objectives.objective import Model
from expunge.objectives.teacher import Teacher, validate_teacher
from expunge.tasks.diffusion.objectives.noise_objective import NoiseObjective, predict_noise_for


class OtherClass(NoiseObjective):
    """Predict for the forgotten class the noise that the model predicts for another one.

    Paper: SalUn (Fan et al., ICLR 2024) and EUPMU (arXiv 2510.22124) for class-conditional diffusion models.

    Formula: mean over examples of ‖ε(x_t, t, c) − sg ε(x_t, t, c′)‖² / d, x_t noised forgotten images, sg held constant
    in differentiation, c′ = (c + s) mod C; where that class is forgotten too, or was by an earlier request, the next
    one that is not.

    Args:
        shift: s ≥ 1. Default 1 (authors).
        frozen: ε(x_t, t, c′) is the original's instead of the present model's. Default false (authors).

    Raises:
        ObjectiveError: If the shift is smaller than 1; in ``prepare``, if there is no other class.

    Examples:
        >>> next_kept_classes(4, 1, forgotten=[1, 2])
        tensor([3, 3, 3, 0])

    Differences from the authors' code: with several forgotten classes theirs may turn one of them into another.
    """

    aliases: ClassVar[tuple[str, ...]] = ("noise_of_another_class",)
    paper: ClassVar[str] = "SalUn, ICLR 2024; arXiv 2510.22124"

    def __init__(self, shift: int = 1, frozen: bool = False) -> None:
        if shift < 1:
            raise ObjectiveError("a shift ≥ 1", f"{shift}", "use 1")
        self.shift, self.frozen = shift, frozen
        self.teacher: Teacher | None = None
        self.replacement_classes: Tensor | None = None

    def prepare(self, original: Predictor, data: Split) -> None:
        """Find for each class another one, and keep a frozen copy of the original where it is asked for."""
        super().prepare(original, data)
        if data.num_classes < 2:
            raise ObjectiveError("another class than the forgotten one", f"{data.num_classes}", "use another objective")
        forgotten = [*data.forget.targets.unique().tolist(), *data.forgotten_classes]
        self.replacement_classes = next_kept_classes(data.num_classes, self.shift, forgotten)
        self.teacher = Teacher(original) if self.frozen else None

    def sample(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Return the noised batch with ``others``, the other classes (n,), and the frozen target if that is wanted."""
        noisy = super().sample(batch, epoch, generator)
        others = (
            noisy.targets
            if self.replacement_classes is None
            else self.replacement_classes.to(noisy.targets.device)[noisy.targets]
        )
        noisy = noisy.with_extras(others=others)
        if not self.frozen:
            return noisy
        return noisy.with_extras(target=predict_noise_for(validate_teacher(self.teacher).predict, noisy, others))

    def compute_target(self, model: Model, batch: Batch) -> Tensor:
        """Return what is predicted for the other class."""
        return batch.extras["target"] if self.frozen else predict_noise_for(model, batch, batch.extras["others"])


def next_kept_classes(classes: int, shift: int, forgotten: list[int]) -> Tensor:
    """Return for each class the next one, ``shift`` further on, that is not forgotten; any other one if all are."""
    kept_classes = [label for label in range(classes) if label not in forgotten]
    replacements = []
    for label in range(classes):
        ahead = [(label + shift + further) % classes for further in range(classes)]
        ahead = [other for other in ahead if other != label]
        replacements.append(next((other for other in ahead if other in kept_classes), ahead[0]))
    return torch.tensor(replacements)
