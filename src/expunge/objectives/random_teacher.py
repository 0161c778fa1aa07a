"""RandomTeacher: distil the forgotten examples to a teacher that has learnt nothing."""

from __future__ import annotations

from typing import ClassVar

from expunge.batch import Predictor, Split
from expunge.objectives.distillation import Distillation
from expunge.objectives.teacher import Teacher


class RandomTeacher(Distillation):
    """Imitate a network of the same build with new random weights.

    Paper: "Can Bad Teaching Induce Forgetting? Unlearning in Deep Networks using an Incompetent Teacher" (Chundawat et
    al., AAAI 2023).

    Formula: mean over examples of τ² KL(p_b(x; τ) ‖ p(x; τ)), p_b the prediction of the re-initialized network in
    evaluation mode; see ``Distillation``.

    Args:
        temperature: τ > 0. Default 1 (authors).
        seed: Of the teacher's weights. Default 0.

    Raises:
        ModelError: In ``prepare``, if a part of the model does not know how to re-initialize itself.

    Examples:
        >>> RandomTeacher(seed=3)
        RandomTeacher(temperature=1.0, seed=3)

    Differences from the authors' code: the mean runs over examples alone, see ``Distillation``.
    """

    aliases: ClassVar[tuple[str, ...]] = ("bad_teacher", "incompetent")
    paper: ClassVar[str] = "Chundawat et al., AAAI 2023"

    def __init__(self, temperature: float = 1.0, seed: int = 0) -> None:
        super().__init__(temperature)
        self.seed = seed

    def prepare(self, original: Predictor, data: Split) -> None:
        """Make the teacher: a copy of the original with new weights."""
        self.teacher = Teacher(original, self.seed)
