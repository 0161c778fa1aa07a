"""The images that a text-to-image model makes of a file of prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from expunge.errors import RequestError
from expunge.tasks.diffusion.evaluation import PromptImages, PromptRow
from expunge.tasks.stable_diffusion.text_to_image import TextToImage


def generate_prompt_images(
    model: TextToImage,
    rows: Sequence[PromptRow],
    *,
    guidance: float = 7.5,
    steps: int = 50,
    batch_size: int = 4,
    on_images: Callable[[int, int], None] | None = None,
) -> PromptImages:
    """Return the image of each row, in their order, each with the row's own seed and guidance.

    Args:
        model: The model.
        rows: As ``read_prompts`` returns them.
        guidance: Where a row names none. Default 7.5.
        steps: Of the sampler. Default 50.
        batch_size: Images at a time. Default 4.
        on_images: Called with (images made, of how many) after each batch.

    Raises:
        RequestError: If there are no rows, or a prompt is longer than the text encoder's limit.
        ConfigError: If guidance is negative or a count not positive.

    A row without a seed has its own number, from 0 up.
    """
    if not rows:
        raise RequestError("at least one prompt", "none", "see read_prompts")
    model.embed(sorted({row.prompt for row in rows}))
    seeds = [number if row.seed is None else row.seed for number, row in enumerate(rows)]
    guidances = [guidance if row.guidance is None else row.guidance for row in rows]
    images_by_row: dict[int, Tensor] = {}
    num_done = 0
    for row_guidance in dict.fromkeys(guidances):
        row_numbers = [number for number, one in enumerate(guidances) if one == row_guidance]
        for first in range(0, len(row_numbers), batch_size):
            part = row_numbers[first : first + batch_size]
            part_prompts, part_seeds = [rows[number].prompt for number in part], [seeds[number] for number in part]
            images = model.images(part_prompts, part_seeds, guidance=row_guidance, steps=steps, batch_size=batch_size)
            images_by_row |= dict(zip(part, images, strict=True))
            num_done += len(part)
            if on_images is not None:
                on_images(num_done, len(rows))
    images = torch.stack([images_by_row[number] for number in range(len(rows))])
    return PromptImages(images, [row.prompt for row in rows], seeds=seeds)
