"""UCE: let the cross-attention read the forgotten prompts as their anchors, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Predictor, Split
from expunge.engine import EditStage, MethodRecipe
from expunge.errors import ConfigError, RequestError
from expunge.methods.method import Method
from expunge.tasks.stable_diffusion.projections import find_projections, solve_edit_matrix
from expunge.tasks.stable_diffusion.task import as_text_to_image
from expunge.tasks.stable_diffusion.text_to_image import TextToImage


@dataclass(frozen=True, kw_only=True)
class UCE(Method):
    """Let the cross-attention read forgotten prompts as their anchors, without training (UCE).

    Paper: "Unified Concept Editing in Diffusion Models" (Gandikota et al., WACV 2024, arXiv 2308.14761).

    Formula: W ← W (e Σ_i a_i c_iᵀ + p Σ_j k_j k_jᵀ + λ I)(e Σ_i c_i c_iᵀ + p Σ_j k_j k_jᵀ + λ I)⁻¹

    for all key and value projections W of the cross-attention, c_i the tokens of all forgotten prompts, a_i the tokens
    at the same places of their anchors, k_j the tokens of all retained prompts and of the null prompt. All concepts of
    a request are erased at once. Images play no part: only the numbers of the prompts of both sides are read.

    Args:
        erase: e ≥ 0. Default 1 (authors).
        preserve: p ≥ 0. Default 1 (authors).
        ridge: λ > 0, how strongly W is held. Default .5 (authors).
        epochs: Passes of fine-tuning on the retained images afterwards, with ``lr``, ``batch_size`` and so on. Default
            0 (authors).

    Raises:
        ConfigError: If a setting is out of its range.

    Examples:
        >>> [stage.label for stage in UCE().recipe().stages]
        ['edit']

    Differences from the authors' code: theirs takes the last token of each prompt alone, or those from there on. Here
    every place counts, so that where the fit is exact the forgotten prompt has the keys and values of its anchor.
    Theirs preserves what is named; here the null prompt is preserved too, because guidance needs it.
    """

    name: ClassVar[str] = "uce"
    aliases: ClassVar[tuple[str, ...]] = ("unified_concept_editing",)
    paper: ClassVar[str] = "arXiv 2308.14761"
    label: ClassVar[str] = "UCE"
    task: ClassVar[str | None] = "stable_diffusion"
    min_epochs: ClassVar[int] = 0

    epochs: int = 0
    erase: float = 1.0
    preserve: float = 1.0
    ridge: float = 0.5

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        super().__post_init__()
        if not (min(self.erase, self.preserve) >= 0 and self.ridge > 0):
            actual = f"{self.erase}, {self.preserve} and {self.ridge}"
            raise ConfigError("erase and preserve ≥ 0, ridge > 0", actual, "change the one that breaks this")

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return the edit, and fine-tuning where it is asked for."""
        return MethodRecipe((EditStage(self.edit, "edit"), *self.make_finetune_stages()))

    def edit(self, predict: Predictor, data: Split) -> None:
        """Change the projections in place."""
        model = as_text_to_image(predict.model)
        erased, anchors, kept = collect_tokens(model, data)
        scales = {"erase": self.erase, "preserve": self.preserve, "ridge": self.ridge}
        transform = solve_edit_matrix(erased, anchors, kept, **scales)
        for layer in find_projections(model.unet, transform.shape[0]):
            layer.weight.copy_(layer.weight.double() @ transform)


def collect_tokens(model: TextToImage, data: Split) -> tuple[Tensor, Tensor, Tensor]:
    """Return the tokens of forgotten prompts, of their anchors, and of what is kept, each ``(n, width)``."""
    forgotten = data.forget.targets.unique().to(model.prompt_embeddings.device)
    anchors = model.anchors[forgotten]
    if bool((anchors == forgotten).any()):
        text = model.prompts[int(forgotten[anchors == forgotten][0])]
        raise RequestError("an anchor for every forgotten prompt", f"none for '{text}'", "name one in its Concept")
    null = torch.tensor([model.null_class])
    kept = torch.cat([data.retain.targets.unique(), null]).unique().to(model.prompt_embeddings.device)
    erased, new, same = (model.prompt_embeddings[numbers].flatten(0, 1) for numbers in (forgotten, anchors, kept))
    return erased, new, same
