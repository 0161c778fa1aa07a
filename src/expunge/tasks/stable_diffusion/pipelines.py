"""Pipelines of the diffusers library: which ones are supported, how they are read, what they hold beside a U-Net."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from expunge.errors import CheckpointError, ModelError
from expunge.tasks.diffusion.optional import diffusers

SUPPORTED = ("StableDiffusionPipeline",)
"""Classes of pipelines that can be unlearned."""


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


def read_pipeline(source: str | os.PathLike[str], dtype: torch.dtype | None = None) -> Any:
    """Return the pipeline in a local folder of ``save_pretrained`` or, where there is none, of that name on the hub.

    Weights are read from safetensors alone; no pickle is opened.

    Args:
        source: Folder, or hub id such as ``stable-diffusion-v1-5/stable-diffusion-v1-5``.
        dtype: Type of the weights. Default: float32.

    Raises:
        CheckpointError: If it is not there, or something in it is missing or unreadable.
        ModelError: If it is a pipeline of another class.
        MissingExtraError: If diffusers is not installed.
    """
    library = diffusers("reading a text-to-image model")
    place = os.fspath(source)
    if Path(place).is_dir() and not (Path(place) / "model_index.json").is_file():
        raise CheckpointError(f"a file 'model_index.json' in '{place}'", "none", "pass a save_pretrained folder")
    try:
        name = library.DiffusionPipeline.load_config(place).get("_class_name", "none")
        refuse_other_classes(name)
        pipeline = getattr(library, name).from_pretrained(place, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        cure = "pass a save_pretrained folder or a hub id, with weights as safetensors"
        raise CheckpointError(f"a readable pipeline in '{place}'", first, cure) from error
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


def refuse_other_classes(name: str) -> None:
    """Refuse the name of a class of pipelines that is not supported.

    Raises:
        ModelError: If it is none of ``SUPPORTED``.
    """
    if name not in SUPPORTED:
        expected = f"a pipeline with a U-Net that reads prompts ({', '.join(SUPPORTED)})"
        raise ModelError(expected, name, "save a model of that class with save_pretrained and pass its folder")
