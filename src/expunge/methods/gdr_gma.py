"""GDR-GMA: ascent and descent, rectified against one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine import MethodRecipe, OptimizerName
from expunge.methods.method import Method
from expunge.objectives import CrossEntropy, NegativeCrossEntropy
from expunge.surgery import GDRGMASurgery as Rectify


@dataclass(frozen=True, kw_only=True)
class GDRGMA(Method):
    """Ascend CE_f and descend CE_r, both gradients rectified where they conflict (GDR-GMA).

    Paper: "GDR-GMA: Machine Unlearning via Direction-Rectified and Magnitude-Adjusted Gradients" (Lin et al., ACM MM
    2024).

    Formula: see ``expunge.surgery.GDRGMASurgery``; descended by AdamW.

    Args:
        epochs: Default 10 (this and the following: authors).
        lr: Default 1e-4.
        optimizer: Default ``adamw``.
        weight_decay: Default .01.
        batch_size: Default 256.
        max_grad_norm: Default none (authors).
        sharpness: γ > 0. Default 100.
        level: ℓ. Default .02, for an original trained to a training loss of about that.
        memory: K ≥ 0. Default 4.

    Examples:
        >>> GDRGMA().recipe().stages[0].optimizer.name
        'adamw'

    Differences from the authors' code: see the surgery; an epoch is one pass over D_r, there the shorter of both.
    """

    name: ClassVar[str] = "gdr_gma"
    paper: ClassVar[str] = "Lin et al., ACM MM 2024"
    label: ClassVar[str] = "GDR-GMA"

    epochs: int = 10
    lr: float = 1e-4
    optimizer: OptimizerName = "adamw"
    weight_decay: float = 0.01
    batch_size: int = 256
    max_grad_norm: float | None = None
    sharpness: float = 100.0
    level: float = 0.02
    memory: int = 4

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one rectified descent."""
        surgery = Rectify(self.sharpness, self.level, self.memory)
        return self.make_recipe(NegativeCrossEntropy(), CrossEntropy(), surgery)
