"""BadTeacher: an incompetent teacher for what is forgotten, the original for what is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine import MethodRecipe
from expunge.methods.method import Method
from expunge.objectives import Distillation, RandomTeacher
from expunge.surgery import UnionMean


@dataclass(frozen=True, kw_only=True)
class BadTeacher(Method):
    """Distil D_f to a network with random weights and D_r to the original, in one shuffle of both (BadTeacher).

    Paper: "Can Bad Teaching Induce Forgetting? Unlearning in Deep Networks using an Incompetent Teacher" (Chundawat et
    al., AAAI 2023).

    Formula: θ ← θ − η ∇(1/n) Σ_i τ² KL(q_i ‖ p_i) over a batch of n examples from D_f ∪ D_r, q_i the random network's
    prediction if i is forgotten, else the original's, p_i the model's, all softened by τ.

    Args:
        temperature: τ > 0. Default 1 (authors).

    Raises:
        ModelError: When carried out, if a part of the model does not know how to re-initialize itself.

    Examples:
        >>> BadTeacher().recipe(seed=4).stages[0].objectives.forget
        RandomTeacher(temperature=1.0, seed=4)

    Differences from the authors' code: τ², which is 1 by default, is not in theirs; the loss is averaged over
    examples, there over examples and classes. The authors use Adam at 1e-4 for one epoch with three tenths of D_r; the
    defaults here are those of the other methods, with all of D_r.
    """

    aliases: ClassVar[tuple[str, ...]] = ("badt", "blindspot")
    paper: ClassVar[str] = "Chundawat et al., AAAI 2023"
    label: ClassVar[str] = "BadTeacher"

    temperature: float = 1.0

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one descent with two teachers."""
        return self.make_recipe(
            RandomTeacher(self.temperature, seed), Distillation(self.temperature), UnionMean(), pairing="mixed"
        )
