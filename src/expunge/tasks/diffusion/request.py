"""The request file of a class-conditional diffusion model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from expunge.request.budgeted_request import BudgetedRequest
from expunge.request.checks import make_name_validator, validate_time_limit, validation_error
from expunge.request.sections import ConfigSection, PositiveInt, RelativePath, Seed, WeightsPath


class ImageClassifierChoice(ConfigSection):
    """The classifier that looks at the images.

    Args:
        name: A built-in network, ``package.module:factory``, ``timm/NAME`` or ``transformers/NAME``.
        weights: Its weights, as ``expunge train`` leaves them; it takes the images as the data's reader scales them.
        options: Keyword arguments for the network. Default none.
    """

    name: Annotated[str, AfterValidator(make_name_validator("models", "timm/", "transformers/"))] = Field(
        examples=["resnet8"]
    )
    weights: WeightsPath = Field(examples=["classifier.safetensors"])
    options: dict[str, Any] = Field(default_factory=dict)


class ImagesChoice(ConfigSection):
    """The images that original and unlearned model are asked for, with the same seeds.

    Args:
        forgotten: How many of the forgotten class. Default 500.
        remaining: How many of all other classes together; a Fréchet distance of fewer than 5,000 is large for their
            number alone. Default 5000.
        guidance: Strength of classifier-free guidance; 1 is none. Default 2.
        steps: Steps of the sampler. Default 25.
        seed: Of the starting noise. Default 0.
    """

    forgotten: PositiveInt = 500
    remaining: PositiveInt = 5000
    guidance: Annotated[float, Field(ge=0)] = 2.0
    steps: PositiveInt = 25
    seed: Seed = 0


class DiffusionConfig(BudgetedRequest):
    """One request to a class-conditional diffusion model. A budget is of its loss or in a metric of one's own.

    Args:
        task: ``diffusion``.
        model: Its folder, of diffusers' ``save_pretrained`` layout, with ``unet`` (or ``unet_ema``) and ``scheduler``.
        classifier: The classifier that tells what images show. Default: none, and there are pictures but no figures.
        images: Which images are drawn.
        ema_decay: β of a running mean of the weights, which is then the unlearned model. Default: none.
        time_limit: Time that ``auto`` may take for everything, in seconds or as ``90s``, ``10min``, ``2h``. Default
            10min.
    """

    task: Literal["diffusion"] = "diffusion"
    model: RelativePath = Field(examples=["base"])
    classifier: ImageClassifierChoice | None = Field(
        None, examples=["{name: resnet8, weights: classifier.safetensors}"]
    )
    images: ImagesChoice = ImagesChoice()
    ema_decay: Annotated[float, Field(ge=0, lt=1)] | None = Field(None, examples=[0.99])

    time_limit: Annotated[str | float | None, BeforeValidator(validate_time_limit)] = Field(None, examples=["10min"])

    @model_validator(mode="after")
    def check_time_limit(self) -> DiffusionConfig:
        """Refuse a time limit where nothing is searched."""
        reasons = {
            f"method '{self.method.name}'": not self.method.automatic,
            "an lr beside it": "lr" in self.method.settings,
        }
        conflicts = [reason for reason, holds in reasons.items() if holds]
        if conflicts and self.time_limit is not None:
            raise validation_error(
                "time_limit beside `method: auto`, which searches a learning rate",
                conflicts[0],
                "remove it",
                "time_limit",
            )
        return self

    @model_validator(mode="after")
    def check_budget_unit(self) -> DiffusionConfig:
        """Refuse a budget in points: there is no accuracy that could be lost."""
        if self.budget is not None and self.budget.accuracy_points is not None:
            expected = "a budget of the loss or in a metric for a model without classes to be right about"
            raise validation_error(
                expected, "accuracy_points", "write for example `budget: {loss_increase: 0.05}`", "budget"
            )
        return self

    def check_files(self) -> None:
        """Refuse a request that names a file or folder which is not there."""
        super().check_files()
        if not self.model.is_dir():
            raise self.missing_file_error("folder", self.model, "model")
        self.check_file(None if self.classifier is None else self.classifier.weights, "classifier", "weights")
