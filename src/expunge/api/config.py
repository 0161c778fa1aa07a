"""The request file: what may stand in it, checked before anything heavy is imported.

Examples:
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "request.yaml")
    >>> lines = "model: package.module:factory", "data: {python: package.module:data}", "forget: {clas: 0}"
    >>> _ = file.write_text(chr(10).join(lines))
    >>> load_request(file)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    expunge.errors.ConfigError: request.yaml line 3: Expected one of class, ... but found 'clas': did you mean 'class'.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from expunge.api.checks import a_device, refuse, safetensors, shown
from expunge.api.document import Document, read_document
from expunge.api.names import registered_names
from expunge.api.sections import (
    Count,
    DataChoice,
    ForgetChoice,
    MethodChoice,
    ModelChoice,
    Precision,
    Rooted,
    Section,
    Seed,
    Share,
    TrainChoice,
    Weights,
    rooted,
)
from expunge.api.sentences import sentence
from expunge.errors import ConfigError

__all__ = ["RunConfig", "load_request", "registered_names"]


def origin(value: Any, info: ValidationInfo) -> Any:
    """Return ``none``, ``retrain`` or the path of a retrained model's weights."""
    if value is None or value in ("none", "retrain"):
        return value or "none"
    if not isinstance(value, (str, Path)):
        raise refuse("none, retrain or the path of a safetensors file", shown(value), "choose one of them")
    return safetensors(rooted(value, info))


class RunConfig(Section):
    """One request: whose influence to remove, from which model, by which method.

    Args:
        task: ``classification``.
        model: The classifier.
        checkpoint: Its weights; may be missing if ``train`` is there or the model comes from Python. With ``train`` and
            without weights the original is trained first, from the weights that ``model`` starts with.
        data: What it was trained on.
        forget: What to forget.
        method: The method and its settings.
        reference: ``none``, ``retrain`` or the path of a retrained model's weights. Default ``none``.
        train: How to train the original and the reference.
        holdout: Share of the test data that no figure is computed on. Default none.
        seed: Seed of the run. Default 0.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. Default ``auto``.
        threads: Processor threads. Default: torch's own choice.
        normalisation: ``frozen``, ``joint`` or ``separate``. Default: the method's.
        micro_batches: Parts into which each batch is cut. Default 1.
        precision: ``fp32``, ``bf16`` or ``fp16``. Default ``fp32``.
        out: Run folder. Default ``runs/`` and the file's name, beside the file.
        show_examples: Whether pictures of forgotten examples may stand in the report. Default false.
    """

    task: Literal["classification"] = "classification"
    model: ModelChoice = Field(examples=["resnet20"])
    checkpoint: Weights | None = Field(None, examples=["original.safetensors"])
    data: DataChoice = Field(examples=["fashion_mnist"])
    forget: ForgetChoice = Field(examples=["{class: 0}"])
    method: MethodChoice = Field(examples=["eupmu"])
    reference: Annotated[Literal["none", "retrain"] | Path, BeforeValidator(origin)] = "none"
    train: TrainChoice | None = Field(None, examples=["{epochs: 20}"])
    holdout: Share | None = Field(None, examples=[0.1])
    seed: Seed = 0
    device: Annotated[str, AfterValidator(a_device)] = "auto"
    threads: Count | None = Field(None, examples=[2])
    normalisation: Literal["frozen", "joint", "separate"] | None = Field(None, examples=["frozen"])
    micro_batches: Count = 1
    precision: Precision = "fp32"
    out: Rooted = Field(Path("runs/request"), examples=["runs/name"])
    show_examples: bool = False
    _document: Document | None = PrivateAttr(None)

    @model_validator(mode="after")
    def trainable(self) -> RunConfig:
        """Refuse a request whose original or reference comes from nowhere."""
        if self.train is None and self.reference == "retrain":
            raise refuse("the section 'train' for reference: retrain", "none", "add `train: {epochs: 20}`", "reference")
        if self.train is None and self.checkpoint is None and not self.model.from_python:
            cure = "add `checkpoint: original.safetensors`, or `train: {epochs: 20}` to train the original first"
            raise refuse("the weights of the original", "neither checkpoint nor train", cure, "model")
        return self

    def where(self, *keys: str | int) -> str:
        """Return the place of a setting, for messages: ``"request.yaml line 7"``, or nothing without a file."""
        return self._document.where(*keys) if self._document else ""

    def where_setting(self, *name: str) -> str:
        """Return the place of a setting of the method, written beside its name or under ``settings``."""
        beside, inside = ("method", *name), ("method", "settings", *name)
        lines = self._document.lines if self._document else {}
        return self.where(*(inside if inside in lines else beside))


def load_request(path: Path | str) -> RunConfig:
    """Return the request that a YAML file holds; paths in it are relative to its folder.

    Args:
        path: The file.

    Raises:
        ConfigError: With the line of the first thing that is wrong, and the cure.
    """
    document = read_document(Path(path))
    data = {"out": f"runs/{document.path.stem}", **document.data}
    try:
        config = RunConfig.model_validate(data, context={"folder": document.path.parent})
    except ValidationError as error:
        raise sentence(error, document, RunConfig) from None
    config._document = document
    check_files(config)
    return config


def check_files(config: RunConfig) -> None:
    """Refuse a request that names a file which is not there; a checkpoint may be, if it is still to be trained."""
    reference = config.reference if isinstance(config.reference, Path) else None
    files = {("forget", "indices"): config.forget.indices, ("reference",): reference}
    if config.train is None:
        files[("checkpoint",)] = config.checkpoint
    for keys, path in files.items():
        if path is not None and not path.is_file():
            cure = "paths are relative to the request file's folder"
            raise ConfigError(f"a file for '{keys[-1]}'", f"none at '{path}'", cure, config.where(*keys))
    folder = config.data.dir
    if folder is not None and not folder.is_dir():
        cure = "paths are relative to the request file's folder"
        raise ConfigError("a folder for 'dir'", f"none at '{folder}'", cure, config.where("data", "dir"))
