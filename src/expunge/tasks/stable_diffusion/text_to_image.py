"""TextToImage: a Stable Diffusion pipeline as a model that unlearns, its prompts numbered."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from expunge.errors import ModelError, RequestError
from expunge.tasks.diffusion.denoiser import Denoiser, check_prediction_type
from expunge.tasks.diffusion.folders import atomic_folder
from expunge.tasks.diffusion.sampling import sample_from_noise
from expunge.tasks.stable_diffusion.adapters import AdapterLayers, merge_adapter_copy
from expunge.tasks.stable_diffusion.encoders import PipelineEncoders
from expunge.tasks.stable_diffusion.pipelines import FrozenComponents, read_pipeline, validate_pipeline
from expunge.tasks.stable_diffusion.seeds import draw_noise, expand_seeds
from expunge.tasks.stable_diffusion.trainable import train_only

NULL_PROMPT = ""
"""The prompt that says nothing."""


class TextToImage(Denoiser):
    """A text-to-image model: ε(x_t, t, c), x an image's latents, c the number of a prompt in the model's own table.

    Only the U-Net is part of the module: it is what is trained, copied and moved. Text encoder, autoencoder and safety
    checker stay beside it, shared by all copies and never changed. The table holds embedded prompts, so that the text
    encoder is needed once; the null prompt is its last row. A new model knows the null prompt alone:
    ``with_prompts`` and ``concept_split`` give it others.

    Paper: "High-Resolution Image Synthesis with Latent Diffusion Models" (Rombach et al., CVPR 2022, arXiv 2112.10752).

    Args:
        pipeline: A ``StableDiffusionPipeline`` of diffusers that predicts noise.
        size: Height and width of its images, pixels. Default: those that its U-Net was trained with.

    Raises:
        ModelError: If the pipeline is of another class, predicts something else, or has no such size.
    """

    has_bounded_samples: ClassVar[bool] = False
    prompt_embeddings: Tensor
    anchors: Tensor

    def __init__(self, pipeline: Any, size: int | None = None) -> None:
        super().__init__()
        validate_pipeline(pipeline)
        check_prediction_type(pipeline.scheduler)
        self.unet: nn.Module = pipeline.unet
        self.frozen_components, self.scheduler = FrozenComponents(pipeline), pipeline.scheduler
        self.latent_shape = compute_latent_shape(pipeline, size)
        self.prompts: tuple[str, ...] = ()
        self.set_prompts((NULL_PROMPT,), self.encoders.embed([NULL_PROMPT]))

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        size: int | None = None,
        dtype: torch.dtype | None = None,
        variant: str | None = None,
    ) -> TextToImage:
        """Return the model in a local ``save_pretrained`` folder or, where there is none, of that name on the hub.

        Args:
            source: Folder or hub id. Weights are read from safetensors alone.
            size: See ``TextToImage``.
            dtype: Type of the weights. Default float32; to train in bf16, leave it and pass ``precision="bf16"``.
            variant: Which files of weights are read, such as ``fp16``. Default: the plain ones or, where a local folder
                has one variant alone, that.

        Raises:
            CheckpointError: If something is missing or unreadable.
            ModelError: If it is a pipeline that cannot be unlearned.
            MissingExtraError: If diffusers is not installed.
        """
        model = cls(read_pipeline(source, dtype, variant), size)
        model.eval()
        return model

    def save_pretrained(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the whole pipeline in diffusers' layout, weights as safetensors; all of it or nothing.

        An adapter is merged into what is written, at its present strength; ``save_adapter`` writes it alone.

        Args:
            folder: Where; it must not be there.
            overwrite: Whether a folder of that name may be replaced. Default false.

        Raises:
            CheckpointError: If the folder is there and may not be replaced.
        """
        target = Path(folder)
        with atomic_folder(target, overwrite=overwrite) as temporary:
            self.frozen_components.build_pipeline(merge_adapter_copy(self.unet)).save_pretrained(
                temporary, safe_serialization=True
            )
        return target

    def set_trainable(self, part: str, *, rank: int = 1, layers: AdapterLayers = "cross_attention") -> TextToImage:
        """Let one part of the U-Net be trained, hold everything else, and return the model itself.

        Args:
            part: ``full``, ``cross_attention`` (the layers that read the prompt) or ``lora``: a new adapter.
            rank: Of the adapter. Default 1.
            layers: Where the adapter is: ``cross_attention`` (default), ``attention`` or ``all``.

        Raises:
            ConfigError: If there is no such part, or there is an adapter already.
            ModelError: If the U-Net has no such weights.
            MissingExtraError: If an adapter is asked for and peft is not installed.
        """
        train_only(self.unet, part, rank, layers)
        return self

    def set_checkpointing(self, active: bool = True) -> TextToImage:
        """Compute activations again in the backward pass in the place of keeping them, and return the model itself.

        It saves most of the memory of training for about a third more time; results are the same.
        """
        unet: Any = self.unet
        (unet.enable_gradient_checkpointing if active else unet.disable_gradient_checkpointing)()
        return self

    @property
    def pipeline(self) -> Any:
        """A pipeline of diffusers around the present U-Net; nothing is copied."""
        return self.frozen_components.build_pipeline(self.unet)

    @property
    def null_class(self) -> int:
        """The number of the null prompt."""
        return self.classes

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the latents."""
        return self.latent_shape

    @property
    def encoders(self) -> PipelineEncoders:
        """Its text encoder and autoencoder, at work where the U-Net is."""
        return PipelineEncoders(self.frozen_components, self.unet)

    def set_prompts(self, prompts: Sequence[str], embeddings: Tensor, anchors: Tensor | None = None) -> None:
        """Take over a table of prompts; its last one must be the null prompt."""
        if not prompts or prompts[-1] != NULL_PROMPT or len(prompts) != len(embeddings):
            raise ModelError("one embedding for each prompt, the null prompt last", f"{len(prompts)}", "append ''")
        self.prompts, self.classes = tuple(prompts), len(prompts) - 1
        weight = next(self.unet.parameters())
        anchor_indices = torch.arange(len(prompts)) if anchors is None else anchors
        self.register_buffer("prompt_embeddings", embeddings.to(weight), persistent=False)
        self.register_buffer("anchors", anchor_indices.to(weight.device), persistent=False)

    def with_prompts(self, prompts: Sequence[str]) -> TextToImage:
        """Return the model with another table of prompts, each one once, in order, the null prompt appended.

        The U-Net is the same object, not a copy.

        Args:
            prompts: What the numbers 0, 1, … are to stand for.

        Raises:
            RequestError: If a prompt is longer than the text encoder's limit.
        """
        unique_prompts = tuple(dict.fromkeys(prompt for prompt in prompts if prompt != NULL_PROMPT))
        clone = copy.copy(self)
        # A shallow copy shares the registries of submodules and buffers.
        for registry in ("_modules", "_buffers", "_parameters"):
            object.__setattr__(clone, registry, dict(getattr(self, registry)))
        object.__setattr__(clone, "_non_persistent_buffers_set", set(self._non_persistent_buffers_set))
        clone.set_prompts((*unique_prompts, NULL_PROMPT), self.encoders.embed((*unique_prompts, NULL_PROMPT)))
        return clone

    def prompt_indices(self, prompts: Sequence[str]) -> Tensor:
        """Return the number of each prompt in the table, ``(n,)``.

        Raises:
            RequestError: If one is not in it.
        """
        indices = {text: number for number, text in enumerate(self.prompts)}
        missing = [prompt for prompt in prompts if prompt not in indices]
        if missing:
            actual = f"'{missing[0]}'"
            raise RequestError("a prompt of the model's table", actual, "make the table with with_prompts([...])")
        return torch.tensor([indices[prompt] for prompt in prompts], dtype=torch.int64)

    def forward(self, sample: Tensor, timestep: Tensor, class_labels: Tensor) -> Tensor:
        """Return the noise that the U-Net sees in the latents under the prompts of these numbers."""
        embeddings = self.prompt_embeddings[class_labels]
        output = self.unet(sample.to(embeddings.dtype), timestep, encoder_hidden_states=embeddings)
        noise: Tensor = getattr(output, "sample", output)
        return noise

    def embed(self, prompts: Sequence[str]) -> Tensor:
        """Return the embedded prompts ``(n, tokens, width)``.

        Raises:
            RequestError: If a prompt is longer than the text encoder's limit.
        """
        return self.encoders.embed(prompts)

    def encode(self, images: Any, batch_size: int = 16) -> Tensor:
        """Return the scaled latents of images, ``(n, channels, height, width)``, on the CPU.

        They are the means of the autoencoder's distributions, so that the same image has the same latents.

        Args:
            images: Floats in [0, 1] or integers of 8 or 16 bits, ``(n, 3, height, width)``, or a list of such images,
                of arrays with channels last, or of Pillow images.
            batch_size: Images at a time. Default 16.

        Raises:
            DataError: If they are of several shapes, of another number of channels or out of range.
        """
        return self.encoders.encode(images, self.sample_shape, batch_size)

    def decode(self, latents: Tensor, batch_size: int = 16) -> Tensor:
        """Return the images of latents, ``(n, 3, height, width)`` in [0, 1], on the CPU."""
        return self.encoders.decode(latents, batch_size)

    def images(
        self,
        prompts: Sequence[str],
        seeds: int | Sequence[int] = 0,
        *,
        guidance: float = 7.5,
        steps: int = 50,
        batch_size: int = 16,
        on_images: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """Return one image for each prompt, ``(n, 3, height, width)`` in [0, 1], on the CPU.

        An image depends on its prompt and its seed alone (DDIM without noise of its own), so that two models can be
        compared image by image. The starting noise is that of diffusers' pipelines for a CPU generator of that seed.

        Args:
            prompts: One for each image.
            seeds: One for each image. A number s: image i has the seed s + i. Default 0.
            guidance: w ≥ 0; 1 is none. Default 7.5.
            steps: Default 50.
            batch_size: Images at a time. Default 16.
            on_images: Called with (images made, of how many) after each batch.

        Raises:
            RequestError: If a prompt is longer than the text encoder's limit.
            ConfigError: If guidance is negative, a count not positive, or there are not as many seeds as prompts.
        """
        latents = self.latents(
            prompts, seeds, guidance=guidance, steps=steps, batch_size=batch_size, on_images=on_images
        )
        return self.decode(latents, batch_size)

    def latents(self, prompts: Sequence[str], seeds: int | Sequence[int] = 0, **settings: Any) -> Tensor:
        """Return the latents of the images that ``images`` would return."""
        model, image_seeds = self.with_prompts(prompts), expand_seeds(seeds, len(prompts))
        make_noise = lambda positions: draw_noise(self.sample_shape, image_seeds[positions])  # noqa: E731
        options = {"guidance": 7.5, "steps": 50, "batch_size": 16, **settings}
        return sample_from_noise(model, model.prompt_indices(prompts), make_noise, **options)


def compute_latent_shape(pipeline: Any, size: int | None) -> tuple[int, int, int]:
    """Return channels, height and width of the latents of a pipeline's images."""
    config: Any = pipeline.unet.config
    if size is None:
        sides = config.sample_size
        height, width = (sides, sides) if isinstance(sides, int) else sides
        return config.in_channels, height, width
    factor = pipeline.vae_scale_factor
    if size < factor or size % factor:
        raise ModelError(f"images of a multiple of {factor} pixels", f"{size}", "choose another size")
    return config.in_channels, size // factor, size // factor
