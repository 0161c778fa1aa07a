"""ImagePairs: let a forgotten prompt show the other image of each pair."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from expunge.batch import Batch
from expunge.errors import ObjectiveError
from expunge.objectives.objective import Model
from expunge.tasks.stable_diffusion.objectives.prompt_objective import PromptObjective


class ImagePairs(PromptObjective):
    """Predict the noise in the safe image of a pair under the unsafe prompt: "nude" is to become "clothed".

    The examples to forget are the safe images with the number of the unsafe prompt: ``concept_split(…, pairs=True)``
    draws them, or a user's own safe images have the unsafe prompts as captions.

    Paper: up to its scale the noise-based loss of concept ablation (Kumari et al., ICCV 2023, arXiv 2303.13516). It is
    not what EUPMU or SalUn do for nudity: see ``OtherPrompt(scale=100)``.

    Formula: w · mean over examples of ‖ε − ε(x_t, t, c)‖² / d, x_t = √ᾱ_t x + √(1 − ᾱ_t) ε, x the latents of the safe
    image, c the unsafe prompt.

    Args:
        scale: w > 0. Default 100; 1 in the paper.

    Raises:
        ObjectiveError: If the scale is not positive; when drawing, without ``prepare``.

    Examples:
        >>> ImagePairs(scale=1.0)
        ImagePairs(scale=1.0)
    """

    aliases: ClassVar[tuple[str, ...]] = ("safe_image",)
    paper: ClassVar[str] = "concept ablation, arXiv 2303.13516"

    def __init__(self, scale: float = 100.0) -> None:
        if not scale > 0:
            raise ObjectiveError("a scale > 0", f"{scale}", "use 100")
        self.scale = scale

    def compute_target(self, model: Model, batch: Batch) -> Tensor:
        """Return the noise that was mixed in."""
        return batch.extras["noise"]

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return the scaled mean squared distance."""
        return self.scale * super().__call__(model, batch)
