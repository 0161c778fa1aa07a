"""What every request file may say, whatever the family of its model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator

from expunge.errors import ConfigError
from expunge.registry import AUTO
from expunge.request.checks import validate_device, validation_error
from expunge.request.document import RequestDocument
from expunge.request.sections import (
    CheckpointChoice,
    ConfigSection,
    DataChoice,
    ExcludeChoice,
    ForgetChoice,
    LoggerChoice,
    MethodChoice,
    NoteChoice,
    PositiveInt,
    Precision,
    RelativePath,
    Seed,
    Threads,
    as_tuple,
    expand_classes,
)
from expunge.run_config import RunConfig

if TYPE_CHECKING:
    from expunge.request.model_request import ModelRequest

UNLEARNED_FOLDER = "unlearned"
"""Where a run folder holds a model that is a folder itself."""
RUN_CONFIG_KEYS = frozenset(
    ("batch_norm", "gradient_accumulation_steps", "precision", "channels_last", "compile", "ema_decay", "priority")
)
"""Keys of a request file that are fields of ``RunConfig`` too."""
ADAPTER_FOLDER = "adapter"
"""Where a run folder holds the adapter of such a model, beside it."""


class RequestFile(ConfigSection):
    """The part of a request that all families share.

    Args:
        task: What kind of model it is about.
        method: The method and its settings; ``auto`` chooses it. Default ``auto``.
        seed: Seed of the run. Default 0.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. Default ``auto``.
        threads: Processor threads. Default: torch's own choice.
        deterministic: Only kernels that give the same bits each time. Default false, which does so on processors.
        batch_norm: ``frozen``, ``joint`` or ``separate``. Default: the method's.
        gradient_accumulation_steps: Parts into which each batch is cut. Default 1.
        precision: ``fp32``, ``bf16`` or ``fp16``. Default ``fp32``.
        channels_last: Whether weights of convolutions are held with channels last meanwhile. Default: on accelerators.
        compile: Whether unlearning passes batches through the model by ``torch.compile``. Default false.
        device_cache_gib: GiB of examples, at most, that are kept on an accelerator as a whole; 0 for none. Default 2.
        out: Run folder. Default ``runs/`` and the file's name, beside the file.
        loggers: A logger or several, by name or with settings: tensorboard, wandb, mlflow, trackio. Default none.
        checkpoint_every: How often the run's state is saved, so that `--resume` can go on with it. Default every
            minute.
        request: Title, ticket and requester. Default none.
        ledger: The file that requests are recorded in once they are answered. Default: none, and nothing is recorded.
        sanity_check: Whether a model that knows the data no better than chance is refused; where false the result says
            so instead. Default true.
    """

    task: str = "classification"
    method: MethodChoice = Field(MethodChoice(name=AUTO), examples=["eupmu"])
    seed: Seed = 0
    device: Annotated[str, AfterValidator(validate_device)] = "auto"
    threads: Threads | None = Field(None, examples=[2])
    deterministic: bool = False
    batch_norm: Literal["frozen", "joint", "separate"] | None = Field(None, examples=["frozen"])
    gradient_accumulation_steps: PositiveInt = 1
    precision: Precision = "fp32"
    channels_last: bool | None = Field(None, examples=[True])
    compile: bool = False
    device_cache_gib: Annotated[float, Field(ge=0)] = 2.0
    out: RelativePath = Field(Path("runs/request"), examples=["runs/name"])
    checkpoint_every: CheckpointChoice = Field(CheckpointChoice(steps=None), examples=["{updates: 500}"])
    request: NoteChoice | None = Field(None, examples=["{title: Deletion for 25 customers, ticket: T-1234}"])
    ledger: RelativePath | None = Field(None, examples=["ledger.sqlite"])
    loggers: Annotated[tuple[LoggerChoice, ...], BeforeValidator(as_tuple)] = ()
    sanity_check: bool = True
    _document: RequestDocument | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def check_budget_support(cls, value: Any) -> Any:
        """Refuse a budget, and time to search inside it, for a family that can keep none."""
        keys = [key for key in ("budget", "priority", "time_limit") if isinstance(value, dict) and key in value]
        if keys and keys[0] not in cls.model_fields:
            expected = f"'{keys[0]}' in a request to a classifier or a class-conditional diffusion model"
            hint = "remove it; such a model has no budget so far"
            raise validation_error(expected, f"it beside task: {value.get('task')}", hint, keys[0])
        return value

    def where(self, *keys: str | int) -> str:
        """Return the place of a setting, for messages: ``"request.yaml line 7"``, or nothing without a file."""
        return self._document.where(*keys) if self._document else ""

    def where_setting(self, *name: str) -> str:
        """Return the place of a setting of the method, written beside its name or under ``settings``."""
        inline_keys, nested_keys = ("method", *name), ("method", "settings", *name)
        lines = self._document.lines if self._document else {}
        return self.where(*(nested_keys if nested_keys in lines else inline_keys))

    def run_config(self, **options: Any) -> RunConfig:
        """Return how ``unlearn`` runs; the verbs have progress bars of their own."""
        written = self.model_dump(include=set(RUN_CONFIG_KEYS & type(self).model_fields.keys()), exclude_none=True)
        return RunConfig(**{"progress": False, **written, **options})

    def as_model_request(self, hint: str) -> ModelRequest:
        """Return the request if it is about a model that is made by a function and can be trained."""
        raise ConfigError("the request of a classifier", f"task: {self.task}", hint, self.where("task"))

    def check_out_folder(self, model: Path) -> None:
        """Refuse a run folder that would write over the folder of the model."""
        if (self.out / UNLEARNED_FOLDER).resolve() == model.resolve():
            raise ConfigError("a run folder apart from the model", f"'{self.out}'", "choose another with out (--out)")

    def attach_document(self, document: RequestDocument) -> None:
        """Take note of the file, and refuse what it names and is not there."""
        self._document = document
        self.check_files()

    def check_files(self) -> None:
        """Refuse a request that names a file or folder which is not there."""

    def check_file(self, path: Path | None, *keys: str) -> None:
        if path is not None and not path.is_file():
            raise self.missing_file_error("file", path, *keys)

    def missing_file_error(self, what: str, path: Path, *keys: str) -> ConfigError:
        """Return the error for a file or folder that is not there."""
        hint = f"paths are relative to {(self._document or RequestDocument).base_description}"
        return ConfigError(f"a {what} for '{keys[-1]}'", f"none at '{path}'", hint, self.where(*keys))


class DataRequest(RequestFile):
    """A request about examples of the model's training data.

    Args:
        data: What the model was trained on.
        forget: What to forget.
        exclude: What earlier requests forgot, which is neither learned from nor tested on. Default: what a ledger says.
    """

    data: DataChoice = Field(examples=["fashion_mnist"])
    forget: ForgetChoice = Field(examples=["{class: 0}"])
    exclude: Annotated[ExcludeChoice | None, BeforeValidator(expand_classes)] = Field(None, examples=["[3]"])

    @model_validator(mode="after")
    def check_id_column(self) -> DataRequest:
        """Refuse two columns of ids: the data have one id for each example."""
        excluded = None if self.exclude is None else self.exclude.id_column
        if excluded is not None and self.forget.id_column not in (None, excluded):
            expected = f"one column of ids, '{self.forget.id_column}'"
            raise validation_error(expected, f"'{excluded}' beside it", "write the same in both", "exclude")
        return self

    @property
    def id_column(self) -> str | None:
        """The column of the data that holds the ids, if the request names one."""
        return self.forget.id_column or (None if self.exclude is None else self.exclude.id_column)

    def check_files(self) -> None:
        """Refuse a request that names a file or folder which is not there."""
        super().check_files()
        self.check_file(self.forget.indices, "forget", "indices")
        self.check_file(self.forget.ids, "forget", "ids")
        self.check_file(None if self.exclude is None else self.exclude.indices, "exclude", "indices")
        self.check_file(None if self.exclude is None else self.exclude.ids, "exclude", "ids")
        folder = self.data.dir
        if folder is not None and not folder.is_dir():
            raise self.missing_file_error("folder", folder, "data", "dir")
