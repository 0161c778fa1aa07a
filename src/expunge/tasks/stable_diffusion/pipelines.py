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
from expunge.tasks.diffusion.optional import import_diffusers
from expunge.tasks.pretrained import check_mapping, check_pretrained, find_variant, library_error_translation, read_json

SUPPORTED_PIPELINES = ("StableDiffusionPipeline",)
"""Classes of pipelines that can be unlearned."""
COMPONENT_CLASSES: Mapping[str, tuple[str, ...]] = {
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


class FrozenComponents:
    """All of a pipeline but its U-Net: text encoder, tokenizer, autoencoder, scheduler, safety checker.

    It is shared by a model and its copies, as none of it is ever trained.

    Args:
        pipeline: The pipeline; its text encoder and autoencoder are put into evaluation mode.
    """

    def __init__(self, pipeline: Any) -> None:
        self.pipeline_class = type(pipeline)
        self.parts = {name: part for name, part in pipeline.components.items() if name != "unet"}
        self.settings = {"requires_safety_checker": pipeline.config.get("requires_safety_checker", True)}
        for part in (self.text_encoder, self.vae):
            part.eval()

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenComponents:
        """Return itself."""
        return self

    def __getattr__(self, name: str) -> Any:
        """Return a part by its name in the pipeline."""
        try:
            return self.__dict__["parts"][name]
        except KeyError:
            raise AttributeError(name) from None

    def build_pipeline(self, unet: nn.Module) -> Any:
        """Return a pipeline of the same class around a U-Net; nothing is copied."""
        return self.pipeline_class(**self.parts, unet=unet, **self.settings)


@contextmanager
def temporarily_on(module: nn.Module, device: torch.device) -> Iterator[nn.Module]:
    """Move a frozen part to a device and, after the body, back to where it was."""
    home = next(module.parameters()).device
    try:
        yield module.to(device)
    finally:
        module.to(home)


def read_pipeline(source: str | os.PathLike[str], dtype: torch.dtype | None = None, variant: str | None = None) -> Any:
    """Return the pipeline in a local folder of ``save_pretrained`` or, where there is none, of that name on the hub.

    Weights are read from safetensors alone; no pickle is opened.
    """
    library = import_diffusers("reading a text-to-image model")
    path = os.fspath(source)
    if Path(path).is_dir() and not (Path(path) / "model_index.json").is_file():
        raise CheckpointError(f"a file 'model_index.json' in '{path}'", "none", "pass a save_pretrained folder")
    hint = "pass a save_pretrained folder or a hub id, with weights as safetensors"
    with library_error_translation(f"a readable pipeline in '{path}'", hint):
        if Path(path).is_dir():
            check_mapping(read_json(Path(path) / "model_index.json"), Path(path) / "model_index.json")
        index = library.DiffusionPipeline.load_config(path)
        name = index.get("_class_name", "none")
        check_pipeline_class(name)
        check_components(index)
        variant_options = {} if variant is None else {"variant": variant}
        download = library.DiffusionPipeline.download
        folder = path if Path(path).is_dir() else download(path, use_safetensors=True, **variant_options)
        check_pretrained(Path(folder))
        variant = variant or find_variant(Path(folder) / "unet")
        loading_options = {
            "use_safetensors": True,
            "local_files_only": True,
            **({} if variant is None else {"variant": variant}),
        }
        pipeline = getattr(library, name).from_pretrained(folder, **loading_options)
    return pipeline if dtype is None else pipeline.to(dtype)


def validate_pipeline(pipeline: Any) -> Any:
    """Return the pipeline if it can be unlearned."""
    names = [kind.__name__ for kind in type(pipeline).__mro__]
    if not any(name in SUPPORTED_PIPELINES for name in names):
        check_pipeline_class(names[0])
    return pipeline


def check_components(index: Mapping[str, Any]) -> None:
    """Refuse an index of a pipeline with other classes than its parts are of: a library has some that run code."""
    for part, entry in index.items():
        if isinstance(entry, (list, tuple)) and not part.startswith("_"):
            library, name = entry if len(entry) == 2 else ("", "")
            supported = COMPONENT_CLASSES.get(part, ()) if part != "scheduler" else (f"diffusers.{name}",)
            scheduler = part == "scheduler" and not str(name).endswith("Scheduler")
            if (library, name) != (None, None) and (f"{library}.{name}" not in supported or scheduler):
                hint = "save the pipeline with its own parts"
                raise CheckpointError(f"'{part}' to be one of {', '.join(supported)}", f"{library}.{name}", hint)


def check_pipeline_class(name: str) -> None:
    """Refuse the name of a class of pipelines that is not supported."""
    if name not in SUPPORTED_PIPELINES:
        expected = f"a pipeline with a U-Net that reads prompts ({', '.join(SUPPORTED_PIPELINES)})"
        raise ModelError(expected, name, "save a model of that class with save_pretrained and pass its folder")
