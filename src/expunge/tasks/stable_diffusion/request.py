"""The request file of a text-to-image model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from expunge.request.checks import validation_error
from expunge.request.request_file import RequestFile
from expunge.request.sections import ConfigSection, PositiveInt, RelativePath, Seed, ShorthandSection, resolve_path

Strength = Annotated[float, Field(ge=0)]


def wrap_in_list(value: Any) -> Any:
    """Return a list of what is written alone."""
    return [value] if isinstance(value, (str, dict)) else value


def resolve_folder_or_hub(value: Any, info: ValidationInfo) -> Any:
    """Return a folder relative to the request file if it is there, and else the text: a name on the hub."""
    path = resolve_path(value, info)
    return str(path.absolute()) if isinstance(path, Path) and path.is_dir() else value


Texts = Annotated[list[str], BeforeValidator(wrap_in_list)]


class ConceptChoice(ConfigSection):
    """A concept to forget.

    Args:
        name: What it is called; written into the templates of ``kind``.
        kind: ``concept``, ``class``, ``style``, ``instance`` or ``nsfw``, whose templates give the prompts.
        prompts: Prompts that show it, in place of a kind.
        anchor: What it is to become: a name for the templates; or a prompt, or one for each of ``prompts``.
    """

    name: str = Field(examples=["Van Gogh"])
    kind: Literal["concept", "class", "style", "instance", "nsfw"] | None = Field(None, examples=["style"])
    prompts: Texts = Field(default_factory=list, examples=["[a field by Van Gogh]"])
    anchor: Texts = Field(examples=["an unknown painter"])

    @model_validator(mode="after")
    def check_prompts(self) -> ConceptChoice:
        """Refuse prompts beside a kind, and neither."""
        if (self.kind is None) == (not self.prompts):
            actual = "neither" if self.kind is None else "both"
            raise validation_error("either a kind, for prompts from templates, or prompts", actual, "keep one of them")
        return self


class TrainableWeights(ShorthandSection):
    """Which weights may change.

    Args:
        name: ``full``, ``cross_attention`` or ``lora``, a new low-rank adapter.
        rank: Of the adapter. Default 1.
        layers: Where the adapter is: ``cross_attention``, ``attention`` or ``all``. Default ``cross_attention``.
    """

    name: Literal["full", "cross_attention", "lora"] = Field(examples=["cross_attention"])
    rank: PositiveInt = 1
    layers: Literal["cross_attention", "attention", "all"] = "cross_attention"


class LatentsChoice(ConfigSection):
    """The images, as latents, that the model draws of its prompts to unlearn with.

    Args:
        per_prompt: For each prompt. Default 8.
        guidance: Default 7.5.
        steps: Default 50.
        seed: Default 0.
        cache: A folder that keeps them; it shows what is to be forgotten. Default: none.
    """

    per_prompt: PositiveInt = 8
    guidance: Strength = 7.5
    steps: PositiveInt = 50
    seed: Seed = 0
    cache: RelativePath | None = None


class SamplesChoice(ConfigSection):
    """The images before and after.

    Args:
        per_prompt: Of every prompt. Default 4.
        guidance: Default 7.5.
        steps: Default 50.
        seed: Of the first image. Default 1000, apart from the latents' that the model unlearns with.
    """

    per_prompt: PositiveInt = 4
    guidance: Strength = 7.5
    steps: PositiveInt = 50
    seed: Seed = 1000


class StableDiffusionConfig(RequestFile):
    """One request to a text-to-image model.

    Args:
        task: ``stable_diffusion``.
        model: A local ``save_pretrained`` folder of a pipeline, or its name on the hub.
        forget: A concept, or a list of them.
        keep: Prompts whose images must not change.
        exclude: Names of concepts that earlier requests forgot; prompts that name one are not kept. Default: what a
            ledger says.
        train: Which weights may change. Default ``full``.
        latents: What the model draws to unlearn with.
        images: What it draws before and after, with the same seeds.
        gradient_checkpointing: Whether activations are computed again in the backward pass, to save memory. Default
            false.
    """

    task: Literal["stable_diffusion"] = "stable_diffusion"
    model: Annotated[str, BeforeValidator(resolve_folder_or_hub)] = Field(examples=["stable-diffusion"])
    forget: Annotated[list[ConceptChoice], BeforeValidator(wrap_in_list), Field(min_length=1)] = Field(
        examples=["{name: Van Gogh, kind: style, anchor: an unknown painter}"]
    )
    keep: Texts = Field(examples=["[a photo of a dog]"])
    exclude: Texts = Field(default_factory=list, examples=["[Van Gogh]"])
    train: TrainableWeights = TrainableWeights(name="full")
    latents: LatentsChoice = LatentsChoice()
    images: SamplesChoice = SamplesChoice()
    gradient_checkpointing: bool = False

    @model_validator(mode="after")
    def check_adapter(self) -> StableDiffusionConfig:
        """Refuse an adapter for the method that is taken where none is named: it changes the weights themselves."""
        if self.method.automatic and self.train.name == "lora":
            hint = "write for example `method: eupmu`"
            raise validation_error("a method that trains an adapter", "auto, which trains none", hint, "train")
        return self
