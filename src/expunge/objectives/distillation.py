"""Distillation: stay close to what the original predicts, or to what one that knows nothing predicts."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from expunge.batch import Batch, Predictor, Split
from expunge.errors import ObjectiveError
from expunge.objectives.objective import Model, Objective
from expunge.objectives.teacher import Teacher, validate_teacher


class Distillation(Objective):
    """Imitate the original: the retain half of BadTeacher, and with labels that of SCRUB.

    Paper: "Towards Unbounded Machine Unlearning" (Kurmanji et al., NeurIPS 2023, arXiv 2302.09880) and "Can Bad
    Teaching Induce Forgetting?" (Chundawat et al., AAAI 2023); the temperature is that of Hinton et al. (2015).

    Formula: mean over examples of

        w τ² KL(p₀(x; τ) ‖ p(x; τ)) − c log p_y(x),    p(x; τ) = softmax(z(x)/τ)

    with z the model's logits, p₀ the original's prediction, τ the temperature, y the label, w and c weights.

    Args:
        temperature: τ > 0. Default 1 (BadTeacher's authors).
        weight: w ≥ 0. Default 1.
        ce_weight: c ≥ 0. Default 0: labels are not looked at.

    Raises:
        ObjectiveError: If the temperature is not positive or a weight negative; when drawing, without ``prepare``.

    Examples:
        >>> Distillation(temperature=4.0)
        Distillation(temperature=4.0, weight=1.0, ce_weight=0.0)

    Differences from the authors' code: BadTeacher's averages over examples *and* classes, so that its gradient is
    smaller by the number of classes; this is the divergence itself. The teacher answers for the batch as it is, after
    augmentation, once per update.
    """

    aliases: ClassVar[tuple[str, ...]] = ("distil_original", "distil")
    paper: ClassVar[str] = "arXiv 2302.09880; Chundawat et al. 2023"

    def __init__(self, temperature: float = 1.0, weight: float = 1.0, ce_weight: float = 0.0) -> None:
        if not temperature > 0 or min(weight, ce_weight) < 0:
            actual = f"temperature {temperature}, weight {weight}, ce_weight {ce_weight}"
            raise ObjectiveError("a temperature > 0 and weights ≥ 0", actual, "change the one that breaks this")
        self.temperature, self.weight, self.ce_weight = temperature, weight, ce_weight
        self.teacher: Teacher | None = None

    def prepare(self, original: Predictor, data: Split) -> None:
        """Keep a frozen copy of the original."""
        self.teacher = Teacher(original)

    def sample(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Return the batch with ``teacher``, the teacher's logits (n, classes)."""
        return batch.with_extras(teacher=validate_teacher(self.teacher)(batch))

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return the weighted mean divergence, and the cross entropy where labels count."""
        logits = model(batch.inputs)
        loss = self.weight * kl_divergence(batch.extras["teacher"], logits, self.temperature)
        return loss + self.ce_weight * functional.cross_entropy(logits, batch.targets) if self.ce_weight else loss


def kl_divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Return τ² times the mean over examples of KL(teacher ‖ student), both softened by τ.

    Examples:
        >>> float(kl_divergence(torch.zeros(2, 3), torch.zeros(2, 3), 2.0))
        0.0
    """
    log_p, log_q = (student / temperature).log_softmax(1), (teacher / temperature).log_softmax(1)
    return temperature**2 * functional.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
