"""Pipelines of the diffusers library: which ones are supported, how they are read, what they hold beside a U-Net."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from expunge.errors import CheckpointError, ModelError
from expunge.tasks.diffusion.optional import diffusers
from expunge.tasks.pretrained import check_mapping, check_pretrained, read_by_library, read_json, variant_of

SUPPORTED = ("StableDiffusionPipeline",)
"""Classes of pipelines that can be unlearned."""
PARTS: Mapping[str, tuple[str, ...]] = {
    "unet": ("diffusers.UNet2DConditionModel",),
    "vae": ("diffusers.AutoencoderKL",),
    "text_encoder": ("transformers.CLIPTextModel",),
    "tokenizer": ("transformers.CLIPTokenizer", "transformers.CLIPTokenizerFast"),
    "safety_checker": ("stable_diffusion.StableDiffusionSafetyChecker",),
    "feature_extractor": (
        "transformers.CLIPImageProcessor",
        "transformers.CLIPFeatureExtractor",
        "transformers.CLIPImageProcessorPil",
    ),
    "image_encoder": ("transformers.CLIPVisionModelWithProjection",),
}
"""Part of a pipeline → the classes that it may be of, with their libraries; a scheduler is any of diffusers'."""


class Frozen:
    """All of a pipeline but its U-Net: text encoder, tokenizer, autoencoder, scheduler, safety checker.

    It is shared by a model and its copies, as none of it is ever trained.

    Args:
        pipeline: The pipeline; its text encoder and autoencoder are put into evaluation mode.
    """

    def __init__(self, pipeline: Any) -> None:
        self.kind = type(pipeline)
        self.parts = {name: part for name, part in pipeline.components.items() if name != "unet"}
        self.settings = {"requires_safety_checker": pipeline.config.get("requires_safety_checker", True)}
        for part in (self.text_encoder, self.vae):
            part.eval()

    def __deepcopy__(self, memo: dict[int, Any]) -> Frozen:
        """Return itself."""
        return self

    def __getattr__(self, name: str) -> Any:
        """Return a part by its name in the pipeline."""
        try:
            return self.__dict__["parts"][name]
        except KeyError:
            raise AttributeError(name) from None

    def around(self, unet: nn.Module) -> Any:
        """Return a pipeline of the same class around a U-Net; nothing is copied."""
        return self.kind(**self.parts, unet=unet, **self.settings)


@contextmanager
def lent(part: nn.Module, device: torch.device) -> Iterator[nn.Module]:
    """Move a frozen part to a device and, after the body, back to where it was."""
    home = next(part.parameters()).device
    try:
        yield part.to(device)
    finally:
        part.to(home)


def read_pipeline(source: str | os.PathLike[str], dtype: torch.dtype | None = None, variant: str | None = None) -> Any:
    """Return the pipeline in a local folder of ``save_pretrained`` or, where there is none, of that name on the hub.

    Weights are read from safetensors alone; no pickle is opened.

    Args:
        source: Folder, or hub id such as ``stable-diffusion-v1-5/stable-diffusion-v1-5``.
        dtype: Type of the weights. Default: float32.
        variant: Which files of weights are read, such as ``fp16``. Default: the plain ones or, where a local folder has
            one variant alone, that.

    Raises:
        CheckpointError: If it is not there, or something in it is missing or unreadable.
        ModelError: If it is a pipeline of another class.
        MissingExtraError: If diffusers is not installed.
    """
    library = diffusers("reading a text-to-image model")
    place = os.fspath(source)
    if Path(place).is_dir() and not (Path(place) / "model_index.json").is_file():
        raise CheckpointError(f"a file 'model_index.json' in '{place}'", "none", "pass a save_pretrained folder")
    cure = "pass a save_pretrained folder or a hub id, with weights as safetensors"
    with read_by_library(f"a readable pipeline in '{place}'", cure):
        if Path(place).is_dir():
            check_mapping(read_json(Path(place) / "model_index.json"), Path(place) / "model_index.json")
        index = library.DiffusionPipeline.load_config(place)
        name = index.get("_class_name", "none")
        refuse_other_classes(name)
        refuse_other_parts(index)
        chosen = {} if variant is None else {"variant": variant}
        download = library.DiffusionPipeline.download
        folder = place if Path(place).is_dir() else download(place, use_safetensors=True, **chosen)
        check_pretrained(Path(folder))
        variant = variant or variant_of(Path(folder) / "unet")
        given = {"use_safetensors": True, "local_files_only": True, **({} if variant is None else {"variant": variant})}
        pipeline = getattr(library, name).from_pretrained(folder, **given)
    return pipeline if dtype is None else pipeline.to(dtype)


def checked_pipeline(pipeline: Any) -> Any:
    """Return the pipeline if it can be unlearned.

    Raises:
        ModelError: If it is of another class.
    """
    names = [kind.__name__ for kind in type(pipeline).__mro__]
    if not any(name in SUPPORTED for name in names):
        refuse_other_classes(names[0])
    return pipeline


def refuse_other_parts(index: Mapping[str, Any]) -> None:
    """Refuse an index of a pipeline with other classes than its parts are of: a library has some that run code.

    Raises:
        CheckpointError: If a part is of another class.
    """
    for part, entry in index.items():
        if isinstance(entry, (list, tuple)) and not part.startswith("_"):
            library, name = entry if len(entry) == 2 else ("", "")
            known = PARTS.get(part, ()) if part != "scheduler" else (f"diffusers.{name}",)
            scheduler = part == "scheduler" and not str(name).endswith("Scheduler")
            if (library, name) != (None, None) and (f"{library}.{name}" not in known or scheduler):
                cure = "save the pipeline with its own parts"
                raise CheckpointError(f"'{part}' to be one of {', '.join(known)}", f"{library}.{name}", cure)


def refuse_other_classes(name: str) -> None:
    """Refuse the name of a class of pipelines that is not supported.

    Raises:
        ModelError: If it is none of ``SUPPORTED``.
    """
    if name not in SUPPORTED:
        expected = f"a pipeline with a U-Net that reads prompts ({', '.join(SUPPORTED)})"
        raise ModelError(expected, name, "save a model of that class with save_pretrained and pass its folder")
