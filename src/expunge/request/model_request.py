"""The request about a model whose network and weights are named, which may be trained and retrained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from expunge.request.budgeted_request import BudgetedRequest
from expunge.request.checks import (
    format_value,
    make_name_validator,
    validate_safetensors_path,
    validate_time_limit,
    validation_error,
)
from expunge.request.sections import ABSOLUTE_IN_JSON, ModelChoice, TrainChoice, WeightsPath, resolve_path


def validate_retrained_model(value: Any, info: ValidationInfo) -> Any:
    """Return ``none``, ``retrain`` or the path of a retrained model's weights."""
    if value is None or value in ("none", "retrain"):
        return value or "none"
    if not isinstance(value, (str, Path)):
        raise validation_error(
            "none, retrain or the path of a safetensors file", format_value(value), "choose one of them"
        )
    return validate_safetensors_path(resolve_path(value, info))


class ModelRequest(BudgetedRequest):
    """One request to a model that is made by a function and can be trained.

    Args:
        model: The model.
        checkpoint: Its weights; may be missing if ``train`` is there or the model comes from Python. With ``train`` and
            without weights the original is trained first, from the weights that ``model`` starts with.
        retrained_model: ``none``, ``retrain`` or the path of a retrained model's weights. Default ``none``.
        train: How to train the original and the reference.
        time_limit: Time that ``auto`` may take for everything where it searches, in seconds or as ``90s``, ``10min``,
            ``2h``. Default ten minutes.
        metrics: Metrics beside those usually measured, costly ones such as ``cka`` and ``relearn``. Default none.
        show_examples: Whether pictures of forgotten examples may stand in the report. Default false.
    """

    model: ModelChoice = Field(examples=["resnet20"])
    checkpoint: WeightsPath | None = Field(None, examples=["original.safetensors"])
    retrained_model: Annotated[
        Literal["none", "retrain"] | Path, BeforeValidator(validate_retrained_model), ABSOLUTE_IN_JSON
    ] = "none"
    train: TrainChoice | None = Field(None, examples=["{epochs: 20}"])
    time_limit: Annotated[str | float | None, BeforeValidator(validate_time_limit)] = Field(None, examples=["10min"])
    metrics: list[Annotated[str, AfterValidator(make_name_validator("metrics"))]] = Field(
        [], examples=[["cka", "relearn"]]
    )
    show_examples: bool = False

    @model_validator(mode="after")
    def check_trainable(self) -> ModelRequest:
        """Refuse a request whose original or reference comes from nowhere."""
        if self.train is None and self.retrained_model == "retrain":
            raise validation_error(
                "the section 'train' for retrained_model: retrain",
                "none",
                "add `train: {epochs: 20}`",
                "retrained_model",
            )
        if self.train is None and self.checkpoint is None and not self.model.from_python:
            hint = "add `checkpoint: original.safetensors`, or `train: {epochs: 20}` to train the original first"
            raise validation_error("the weights of the original", "neither checkpoint nor train", hint, "model")
        return self

    @model_validator(mode="after")
    def check_time_limit(self) -> ModelRequest:
        """Refuse a time limit where nothing is searched, and so nothing would keep to it."""
        if "time_limit" not in self.model_fields_set:
            return self
        reasons = {
            f"method '{self.method.name}'": not self.method.automatic,
            "no budget": self.budget is None,
            "an lr beside it": "lr" in self.method.settings,
        }
        conflicts = [reason for reason, holds in reasons.items() if holds]
        if conflicts:
            raise validation_error(
                "time_limit beside a budget and `method: auto`, which searches a learning rate",
                conflicts[0],
                "remove it",
                "time_limit",
            )
        return self

    def as_model_request(self, hint: str) -> ModelRequest:
        """Return the request: it is about such a model."""
        return self

    def check_files(self) -> None:
        """Refuse a request that names a file which is not there; a checkpoint may be, if it is still to be trained."""
        super().check_files()
        self.check_file(self.retrained_model if isinstance(self.retrained_model, Path) else None, "retrained_model")
        self.check_file(self.checkpoint if self.train is None else None, "checkpoint")
