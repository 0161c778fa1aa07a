"""Images of a text-to-image model, asked for as prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from expunge.tasks.image_sampler import ImageSampler
from expunge.tasks.stable_diffusion.text_to_image import TextToImage


class PromptSampler(ImageSampler):
    """Draws images of prompts, see ``TextToImage.images``.

    Args:
        model: The model.
        guidance: w of classifier-free guidance. Default 7.5.
        steps: Of the sampler. Default 50.
    """

    default_batch_size: ClassVar[int] = 4
    classes: ClassVar[None] = None
    model: TextToImage

    def __init__(self, model: TextToImage, guidance: float | None = None, steps: int | None = None) -> None:
        super().__init__(model, 7.5 if guidance is None else guidance, 50 if steps is None else steps)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of its images."""
        _, height, width = self.model.sample_shape
        factor: int = self.model.pipeline.vae_scale_factor
        return 3, factor * height, factor * width

    def parse_condition(self, text: str, class_names: Sequence[str] = ()) -> str:
        """Return the prompt."""
        self.model.embed([text])
        return text

    def __call__(self, conditions: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Return images ``(n, 3, h, w)`` in [0, 1], one for each pair of prompt and seed."""
        batch = max(1, len(conditions))
        return self.model.images(conditions, list(seeds), guidance=self.guidance, steps=self.steps, batch_size=batch)
