"""IU: undo the influence of the forgotten examples in one Newton-like step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from expunge.batch import Examples, Predictor, Split
from expunge.data import Subset
from expunge.engine import EditStage, MethodRecipe
from expunge.errors import ConfigError
from expunge.masks.fisher_ratio import fisher_diagonal
from expunge.masks.saliency import full_gradient
from expunge.methods.method import Method


@dataclass(frozen=True, kw_only=True)
class Influence(Method):
    """Undo the influence of D_f in one Newton-like step, without training (IU).

    Paper: "Understanding Black-box Predictions via Influence Functions" (Koh and Liang, 2017) as used in "Model
    Sparsity Can Simplify Machine Unlearning" (Jia et al., NeurIPS 2023, arXiv 2304.04934).

    Formula: θ ← θ + α (μ + F)⁻¹ v,   v = (n_f/n) (g_f − g_r)

    with g_f, g_r the gradients of the mean cross entropy on D_f and D_r at the original, n_f of n examples forgotten, F
    the diagonal of the Fisher information on a sample of D_r, μ the damping. v is the gradient of Σ (1/n − w_i) ℓ_i
    for the weights w_i that retraining uses, 0 on D_f and 1/n_r on D_r.

    Args:
        step_size: α > 0. Default 10, which users of the authors' code take for a random tenth of CIFAR-10; it is
            searched for each task (2 for a class of SVHN, 20 for CIFAR-100). 1 is the influence function.
        damping: μ > 0. Default 1: the authors' recursion starts from the identity.
        num_samples: Retain examples in F, drawn at random. Default 1000 (authors).
        epochs: Passes of fine-tuning on D_r afterwards, with ``lr``, ``batch_size`` and so on. Default 0 (authors).

    Raises:
        ConfigError: If a setting is not positive.

    Examples:
        >>> [stage.label for stage in Influence().recipe().stages]
        ['undo']

    Differences from the authors' code: a reconstruction. It is meant to apply the inverse of the full Fisher matrix by
    Woodbury's formula, but the recursion as released keeps one vector only, always parallel to the first example's
    gradient, so that its inverse is the identity but for that one direction; the diagonal inverse takes its place here.
    """

    name: ClassVar[str] = "iu"
    aliases: ClassVar[tuple[str, ...]] = ("influence", "influence_unlearning", "wfisher")
    paper: ClassVar[str] = "Koh and Liang 2017; Jia et al., NeurIPS 2023"
    label: ClassVar[str] = "IU"
    min_epochs: ClassVar[int] = 0

    epochs: int = 0
    step_size: float = 10.0
    damping: float = 1.0
    num_samples: int = 1000

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        super().__post_init__()
        if not min(self.step_size, self.damping, self.num_samples) > 0:
            actual = f"{self.step_size}, {self.damping} and {self.num_samples}"
            raise ConfigError("scale, damping and samples > 0", actual, "change the one that is not")

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return the step, and fine-tuning where it is asked for."""
        return MethodRecipe((EditStage(self.apply_newton_step, "undo"), *self.make_finetune_stages()))

    def apply_newton_step(self, predict: Predictor, data: Split) -> None:
        """Move the model's weights in place."""
        forget, retain = (full_gradient(predict, side, 256) for side in (data.forget, data.retain))
        step = self.step_size * len(data.forget) / (len(data.forget) + len(data.retain))
        fisher = fisher_diagonal(predict, subsample(data.retain, self.num_samples))
        parameters = [parameter for parameter in predict.model.parameters() if parameter.requires_grad]
        for parameter, slope, curvature in zip(parameters, forget - retain, fisher, strict=True):
            parameter.add_(step * slope / (self.damping + curvature))


def subsample(examples: Examples, count: int) -> Examples:
    """Return so many of the examples, drawn from the global generator, or all where there are fewer."""
    return examples if len(examples) <= count else Subset(examples, torch.randperm(len(examples))[:count])
