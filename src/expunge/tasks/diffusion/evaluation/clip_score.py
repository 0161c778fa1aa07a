"""How well images fit their prompts, by a CLIP model in a local folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from expunge.errors import DataError, ModelError
from expunge.metrics import Column
from expunge.metrics.arrays import Floats
from expunge.optional import import_optional
from expunge.tasks.diffusion.evaluation.extras import hash_file, package_version
from expunge.tasks.pretrained import check_pretrained

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's training images, by channel; every published CLIP model takes inputs in this unit."""

COLUMN = Column(
    "clip_score",
    "CLIP score",
    "",
    "100 times the cosine between the CLIP embeddings of image and prompt, not below 0, mean over images. Comparable "
    "only between figures of one CLIP model.",
    "higher",
)


class ClipScore:
    """Scores images against their prompts.

    Hessel et al., 2021, "CLIPScore: A Reference-free Evaluation Metric for Image Captioning" (arXiv:2104.08718):
    w · max(cos(E_image, E_text), 0), with w = 100 as in torchmetrics where the paper has 2.5.

    Args:
        folder: A CLIP model with its tokenizer, as ``save_pretrained`` writes it. Nothing is downloaded.
        batch_size: Images in one forward pass. Default 32.
        device: Where it computes. Default the CPU.

    Raises:
        MissingExtraError: If transformers is not installed.
        ModelError: If the folder has no CLIP model and tokenizer.
        CheckpointError: If it has no weights as safetensors.

    Differences from CLIP's own preparation: images are resized to the square that the model takes, without a crop, by
    bicubic interpolation on tensors.
    """

    def __init__(self, folder: str | os.PathLike[str], *, batch_size: int = 32, device: str = "cpu") -> None:
        library = import_optional("transformers", "the CLIP score", "transformers")
        self.folder, self.batch_size, self.device = Path(folder), batch_size, device
        self.weights_sha256 = hash_weights_folder(self.folder)
        local = {"local_files_only": True}
        try:
            check_pretrained(self.folder)
            model = library.CLIPModel.from_pretrained(self.folder, use_safetensors=True, **local)
            self.tokenizer = library.AutoTokenizer.from_pretrained(self.folder, trust_remote_code=False, **local)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            message = (str(error).strip().splitlines() or ["no message"])[0][:160].rstrip(". ")
            hint = "name a folder that save_pretrained wrote"
            raise ModelError(f"a CLIP model with its tokenizer in '{folder}'", message, hint) from error
        self.model = model.to(device).eval()

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Floats:
        """Return the score of every image, ``(n,)``, from 0 to 100.

        Args:
            images: ``(n, c, h, w)`` in [0, 1].
            prompts: One for each image.

        Raises:
            DataError: If there is not one prompt for each of at least one image, or one is longer than the model reads.
        """
        if len(prompts) != len(images) or not len(images):
            raise DataError("a prompt for each image", f"{len(prompts)} for {len(images)}", "pass those asked for")
        starts = range(0, len(images), self.batch_size)
        parts = [
            self.compute_cosines(images[at : at + self.batch_size], prompts[at : at + self.batch_size]) for at in starts
        ]
        return np.maximum(100.0 * np.concatenate(parts), 0.0)

    def compute_cosines(self, images: Tensor, prompts: Sequence[str]) -> Floats:
        """Return the cosine of every image of a batch with its prompt."""
        image_size = int(self.model.config.vision_config.image_size)
        max_tokens = int(self.model.config.text_config.max_position_embeddings)
        tokens = self.tokenizer(list(prompts), padding=True, return_tensors="pt")
        if tokens["input_ids"].shape[1] > max_tokens:
            actual = f"one of {tokens['input_ids'].shape[1]}"
            raise DataError(f"prompts of at most {max_tokens} tokens", actual, "shorten it")
        with torch.no_grad():
            out = self.model(
                input_ids=tokens["input_ids"].to(self.device),
                attention_mask=tokens["attention_mask"].to(self.device),
                pixel_values=preprocess(images, image_size).to(self.device),
            )
        image_embeddings, text_embeddings = (
            part.double().cpu().numpy() for part in (out.image_embeds, out.text_embeds)
        )
        lengths = np.linalg.norm(image_embeddings, axis=1) * np.linalg.norm(text_embeddings, axis=1)
        return np.asarray((image_embeddings * text_embeddings).sum(1) / lengths)

    def describe(self) -> dict[str, Any]:
        """Return what identifies the model."""
        return {
            "model": self.folder.name,
            "weights_sha256": self.weights_sha256,
            "transformers": package_version("transformers"),
            "torch": torch.__version__,
        }


def preprocess(images: Tensor, size: int) -> Tensor:
    """Return images in [0, 1] as CLIP's inputs ``(n, 3, side, side)``."""
    rgb = images.expand(-1, 3, -1, -1)
    resized = interpolate(rgb, size=(size, size), mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return (resized - mean) / deviation


def hash_weights_folder(folder: Path) -> str:
    """Return one SHA-256 for all weights files of a folder, in the order of their names."""
    files = sorted(folder.glob("*.safetensors")) or [folder / "model.safetensors"]
    hashes = [f"{path.name} {hash_file(path)}" for path in files]
    return hashes[0].split()[1] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()
