"""PromptExamples: latents of images with their captions, kept so that no image is encoded twice."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from expunge.errors import CheckpointError, DataError, is_unicode
from expunge.paths import read_bytes
from expunge.tasks.diffusion.folders import atomic_folder
from expunge.tasks.stable_diffusion.text_to_image import TextToImage
from expunge.weights import load_weights

LATENTS_FILE, CAPTIONS_FILE = "latents.safetensors", "captions.json"
MAX_FILE_BYTES = 2**28
"""Files of a folder of examples."""
HINT = "pass a folder that PromptExamples.save has written"


class PromptExamples:
    """Images as latents, each with its caption.

    Args:
        latents: Scaled, as ``TextToImage.encode`` returns them, ``(n, channels, height, width)``.
        captions: A prompt for each of them.

    Raises:
        DataError: If there are not as many captions as latents, or latents are not finite.

    Examples:
        >>> len(PromptExamples(torch.zeros(2, 4, 8, 8), ["a cat", "a dog"]))
        2
    """

    def __init__(self, latents: Tensor, captions: Sequence[str]) -> None:
        self.latents, self.captions = latents, tuple(captions)
        if latents.dim() != 4 or len(latents) != len(self.captions):
            actual = f"{tuple(latents.shape)} and {len(self.captions)} captions"
            raise DataError("latents (n, channels, height, width) with n captions", actual, "give each image a caption")
        if not all(isinstance(caption, str) and is_unicode(caption) for caption in self.captions):
            raise DataError("captions as texts that can be written as UTF-8", "another one", "correct the captions")
        if not latents.is_floating_point() or not bool(torch.isfinite(latents).all()):
            raise DataError("latents of finite real numbers", f"{latents.dtype}", "encode the images again")

    @classmethod
    def from_images(
        cls, model: TextToImage, images: Any, captions: Sequence[str], batch_size: int = 16
    ) -> PromptExamples:
        """Return a user's images with their captions.

        Args:
            model: Its autoencoder encodes them.
            images: See ``TextToImage.encode``.
            captions: A prompt for each.
            batch_size: Images at a time. Default 16.

        Raises:
            DataError: If images are of several shapes or another one than the model's, or captions are missing.
        """
        return cls(model.encode(images, batch_size), captions)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.captions)

    def __add__(self, other: PromptExamples) -> PromptExamples:
        """Return the images of both."""
        if self.latents.shape[1:] != other.latents.shape[1:]:
            actual = f"{tuple(self.latents.shape[1:])} and {tuple(other.latents.shape[1:])}"
            raise DataError("latents of one shape", actual, "resize the images to one size")
        return PromptExamples(torch.cat([self.latents, other.latents]), self.captions + other.captions)

    def select(self, is_selected: Callable[[str], bool]) -> PromptExamples:
        """Return the images whose captions are chosen, in their order."""
        positions = [position for position, caption in enumerate(self.captions) if is_selected(caption)]
        return PromptExamples(self.latents[positions], [self.captions[position] for position in positions])

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write ``latents.safetensors`` and ``captions.json`` into a new folder.

        Raises:
            CheckpointError: If the folder is there and may not be replaced.
        """
        with atomic_folder(Path(folder), overwrite=overwrite) as temporary:
            save_file({"latents": self.latents.contiguous()}, temporary / LATENTS_FILE)
            (temporary / CAPTIONS_FILE).write_text(json.dumps(self.captions, ensure_ascii=False), encoding="utf-8")
        return Path(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> PromptExamples:
        """Return what ``save`` has written.

        Raises:
            DataError: If it is not there or cannot be read.
        """
        path = Path(folder)
        try:
            captions = json.loads(read_bytes(path / CAPTIONS_FILE, MAX_FILE_BYTES))
            latents = load_weights(path / LATENTS_FILE)["latents"]
        except (OSError, ValueError, KeyError, RecursionError, CheckpointError) as error:
            raise DataError(f"cached latents in '{path}'", type(error).__name__, HINT) from error
        if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
            raise DataError(f"a list of texts in '{path / CAPTIONS_FILE}'", "something else", HINT)
        return cls(latents, captions)


def generate_latents(
    model: TextToImage,
    prompts: Sequence[str],
    per_prompt: int = 8,
    *,
    seed: int = 0,
    guidance: float = 7.5,
    steps: int = 50,
    batch_size: int = 16,
    on_images: Callable[[int, int], None] | None = None,
) -> PromptExamples:
    """Return images that the model itself draws for prompts; they are never decoded."""
    if per_prompt < 1:
        raise DataError("at least one image for each prompt", f"{per_prompt}", "raise per_prompt")
    captions = [prompt for prompt in prompts for _ in range(per_prompt)]
    seeds = [seed + number for _ in prompts for number in range(per_prompt)]
    settings = {"guidance": guidance, "steps": steps, "batch_size": batch_size, "on_images": on_images}
    return PromptExamples(model.latents(captions, seeds, **settings), captions)
