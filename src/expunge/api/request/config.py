"""The request file: what may stand in it, checked before anything heavy is imported.

Examples:
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "request.yaml")
    >>> lines = "model: package.module:factory", "data: {factory: package.module:data}", "forget: {clas: 0}"
    >>> _ = file.write_text(chr(10).join(lines))
    >>> load_request(file)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    expunge.errors.ConfigError: request.yaml line 3: Expected one of class, ... but found 'clas': did you mean 'class'.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo, model_validator

from expunge.api.request.budgeted_request import BudgetedRequest
from expunge.api.request.checks import (
    format_value,
    make_name_validator,
    suggest,
    validate_safetensors_path,
    validate_time_limit,
    validation_error,
)
from expunge.api.request.diffusion_config import DiffusionConfig
from expunge.api.request.document import RequestDocument, read_document
from expunge.api.request.names import list_registered_names
from expunge.api.request.sections import ABSOLUTE_IN_JSON, ModelChoice, TrainChoice, WeightsPath, resolve_path
from expunge.api.request.stable_diffusion_config import StableDiffusionConfig
from expunge.api.request.validation_errors import translate_validation_error
from expunge.errors import ConfigError
from expunge.type_checks import check_argument_types

__all__ = [
    "AnyConfig",
    "ClassificationConfig",
    "DiffusionConfig",
    "StableDiffusionConfig",
    "list_registered_names",
    "load_request",
]


def validate_retrained_model(value: Any, info: ValidationInfo) -> Any:
    """Return ``none``, ``retrain`` or the path of a retrained model's weights."""
    if value is None or value in ("none", "retrain"):
        return value or "none"
    if not isinstance(value, (str, Path)):
        raise validation_error(
            "none, retrain or the path of a safetensors file", format_value(value), "choose one of them"
        )
    return validate_safetensors_path(resolve_path(value, info))


class ClassificationConfig(BudgetedRequest):
    """One request to a classifier: whose influence to remove, from which model, by which method.

    Args:
        task: ``classification``.
        model: The classifier.
        checkpoint: Its weights; may be missing if ``train`` is there or the model comes from Python. With ``train`` and
            without weights the original is trained first, from the weights that ``model`` starts with.
        retrained_model: ``none``, ``retrain`` or the path of a retrained model's weights. Default ``none``.
        train: How to train the original and the reference.
        time_limit: Time that ``auto`` may take for everything where it searches, in seconds or as ``90s``, ``10min``,
            ``2h``. Default ten minutes.
        metrics: Metrics beside those usually measured, costly ones such as ``cka`` and ``relearn``. Default none.
        show_examples: Whether pictures of forgotten examples may stand in the report. Default false.
    """

    task: Literal["classification"] = "classification"
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
    def check_trainable(self) -> ClassificationConfig:
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
    def check_time_limit(self) -> ClassificationConfig:
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

    def check_files(self) -> None:
        """Refuse a request that names a file which is not there; a checkpoint may be, if it is still to be trained."""
        super().check_files()
        self.check_file(self.retrained_model if isinstance(self.retrained_model, Path) else None, "retrained_model")
        self.check_file(self.checkpoint if self.train is None else None, "checkpoint")


AnyConfig = ClassificationConfig | DiffusionConfig | StableDiffusionConfig

CONFIG_CLASSES: Mapping[str, type[AnyConfig]] = {
    "classification": ClassificationConfig,
    "diffusion": DiffusionConfig,
    "stable_diffusion": StableDiffusionConfig,
}
"""Family of the model → what its request file may say."""


@check_argument_types
def load_request(path: Path | str) -> AnyConfig:
    """Return the request that a YAML file holds; paths in it are relative to its folder.

    Args:
        path: The file.

    Raises:
        ConfigError: With the line of the first thing that is wrong, and the cure.
    """
    document = read_document(Path(path))
    data = {"out": f"runs/{document.path.stem}", **document.data}
    config_class = CONFIG_CLASSES[validate_task(document)]
    try:
        config = config_class.model_validate(data, context={"folder": document.path.parent})
    except ValidationError as error:
        raise translate_validation_error(error, document, config_class) from None
    config.attach_document(document)
    return config


def validate_task(document: RequestDocument) -> str:
    """Return the family of models that a request file is about.

    Raises:
        ConfigError: If there is no such family.
    """
    task = document.data.get("task", "classification")
    if not isinstance(task, str) or task not in CONFIG_CLASSES:
        hint = suggest(str(task), list(CONFIG_CLASSES), "write for example `task: classification`")
        raise ConfigError(
            f"one of {', '.join(CONFIG_CLASSES)} for 'task'", format_value(task), hint, document.where("task")
        )
    return task
