"""l1-sparse: fine-tune on the retain set while the weights' magnitudes are penalized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine import MethodRecipe
from expunge.methods.method import Method
from expunge.objectives import CrossEntropy, L1Penalty
from expunge.surgery import WeightedSum


@dataclass(frozen=True, kw_only=True)
class L1Sparse(Method):
    """Fine-tune on D_r with an ℓ₁ penalty that fades over the epochs (l1-sparse).

    Paper: "Model Sparsity Can Simplify Machine Unlearning" (Jia et al., NeurIPS 2023, arXiv 2304.04934).

    Formula: θ ← θ − η (∇CE_r + γ_t sign θ), γ_t = γ (1 − t/(T − T₀)) for epoch t < T − T₀ and 0 after it, T the epochs,
    T₀ those without penalty at the end; an epoch is one pass over D_r.

    Args:
        epochs: T. Default 10 (authors).
        strength: γ ≥ 0. Default 1e-4: the authors search it anew for each task; this is the value that the authors of
            ScissorHands take for the method on CIFAR-10, CIFAR-100 and SVHN.
        free_epochs: T₀ ≥ 0. Default 0 (authors' code).

    Examples:
        >>> L1Sparse().recipe().stages[0].objectives.retain
        L1Penalty(strength=0.0001, epochs=10)

    Differences from the authors' code: the shared defaults of the optimizer; with T₀ = T there is no
    penalty, there the full one.
    """

    name: ClassVar[str] = "l1_sparse"
    aliases: ClassVar[tuple[str, ...]] = ("l1",)
    paper: ClassVar[str] = "Jia et al., NeurIPS 2023"
    label: ClassVar[str] = "l1-sparse"

    epochs: int = 10
    strength: float = 1e-4
    free_epochs: int = 0

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one penalized descent on the retain loss."""
        fading = self.epochs - self.free_epochs
        retain = L1Penalty(self.strength if fading > 0 else 0.0, max(0, fading))
        return self.make_recipe(CrossEntropy(), retain, WeightedSum(0.0, 1.0), pairing="retain")
