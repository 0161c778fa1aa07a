"""The sections of a request file and the types of their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    model_validator,
)

from expunge.errors import ConfigError
from expunge.paths import expand_home, validate_path
from expunge.registry import AUTO
from expunge.request.checks import (
    format_value,
    make_name_validator,
    validate_class,
    validate_method_name,
    validate_safetensors_path,
    validation_error,
)


def resolve_path(value: Any, info: ValidationInfo) -> Any:
    """Return a path relative to the request file's folder; what is no text is left to the next check."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        raise validation_error("a path", "an empty text", "name the file or folder, or remove the key")
    try:
        return validate_path((info.context or {}).get("folder", Path()) / expand_home(value))
    except ConfigError as error:
        raise validation_error(error.expected, error.actual, error.hint) from None


def to_absolute_path(value: Any) -> Any:
    """Return a path as a run notes it: whole, so that it is the same for a purge, and a --resume, from elsewhere."""
    return str(value.absolute()) if isinstance(value, Path) else value


ABSOLUTE_IN_JSON = PlainSerializer(to_absolute_path, when_used="json")
RelativePath = Annotated[Path, BeforeValidator(resolve_path), ABSOLUTE_IN_JSON]
WeightsPath = Annotated[
    Path, BeforeValidator(resolve_path), AfterValidator(validate_safetensors_path), ABSOLUTE_IN_JSON
]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
PositiveInt = Annotated[int, Field(ge=1)]
Threads = Annotated[int, Field(ge=1, le=4096)]
Precision = Literal["fp32", "bf16", "fp16"]


class ConfigSection(BaseModel):
    """Settings of which each has its type, without conversion, and none is unknown."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def expand_name(value: Any) -> Any:
    """Return the section that a name alone stands for; a section is returned as it is."""
    if not isinstance(value, (str, dict)):
        raise validation_error("a name, or a mapping with the name in it", format_value(value), "write the name alone")
    return {"name": value} if isinstance(value, str) else value


def collect_settings(value: Any) -> Any:
    """Return the long form of a section, the settings that stand beside the name under ``settings``."""
    section = expand_name(value)
    if not section.keys() - {"name", "settings"}:
        return section
    settings = {key: item for key, item in section.items() if key != "name"}
    return {**({"name": section["name"]} if "name" in section else {}), "settings": settings}


class ShorthandSection(ConfigSection):
    """A section that may be written as its name alone."""

    @model_validator(mode="before")
    @classmethod
    def expand_shorthand(cls, value: Any) -> Any:
        """Turn the short form into the long one."""
        return expand_name(value)


class ModelChoice(ShorthandSection):
    """The classifier.

    Args:
        name: A built-in network, ``package.module:factory``, ``timm/NAME`` or ``transformers/NAME``.
        options: Keyword arguments for it. Default none.
    """

    name: Annotated[str, AfterValidator(make_name_validator("models", "timm/", "transformers/"))] = Field(
        examples=["resnet20"]
    )
    options: dict[str, Any] = {}

    @property
    def from_python(self) -> bool:
        """Whether the user's own code makes the model, perhaps with weights in it."""
        return ":" in self.name


class DataChoice(ShorthandSection):
    """The data that the model was trained on, by reader or from Python.

    Args:
        name: A reader.
        factory: ``package.module:factory``, instead of ``name``. It returns ``(train, test)``, or a mapping with these
            and ``class_names``.
        dir: Folder of the files. Default: ``--data-dir`` or the variable ``EXPUNGE_DATA``.
        subset: Number of training examples, drawn without replacement. Default all.
        subset_seed: Seed of that draw. Default 0.
        augment: ``none`` or ``crop_flip``. Default ``none``; examples from Python keep their own.
        options: Keyword arguments for the reader. Default none.
    """

    name: Annotated[str, AfterValidator(make_name_validator("readers"))] | None = Field(
        None, examples=["fashion_mnist"]
    )
    factory: Annotated[str, AfterValidator(make_name_validator(None))] | None = Field(
        None, examples=["package.module:factory"]
    )
    dir: RelativePath | None = Field(None, examples=["data"])
    subset: PositiveInt | None = Field(None, examples=[12000])
    subset_seed: Seed = 0
    augment: Literal["none", "crop_flip"] = "none"
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def check_one_source(self) -> DataChoice:
        """Refuse two sources, or none."""
        if (self.name is None) == (self.factory is None):
            actual = "neither" if self.name is None else "both"
            raise validation_error("either a reader's name or python", actual, "keep the one that holds the data")
        return self


ColumnName = Annotated[str, Field(min_length=1, max_length=200)] | None


class ForgetChoice(ConfigSection):
    """What to forget: exactly one of the five.

    Args:
        class_: A class by number or name; written ``class`` in the file.
        indices: A text file with one index of a training example per line.
        ids: A file of ids, one per line or a ``.json`` list; all training examples of these ids.
        id_column: Column of the data that holds the ids; beside another kind it lets a ledger find by id what earlier
            requests forgot. Default: the ids that the data come with.
        fraction: Share of the training examples, between 0 and 1, drawn with ``seed``.
        predicate: ``package.module:function``, called per example.
        seed: Seed of the draw, for ``fraction`` only. Default 0.
    """

    class_: Annotated[int | str, BeforeValidator(validate_class)] | None = Field(None, alias="class", examples=[0])
    indices: RelativePath | None = Field(None, examples=["forget.txt"])
    ids: RelativePath | None = Field(None, examples=["ids.txt"])
    id_column: ColumnName = Field(None, examples=["customer_id"])
    fraction: Fraction | None = Field(None, examples=[0.1])
    predicate: Annotated[str, AfterValidator(make_name_validator(None))] | None = Field(
        None, examples=["package.module:function"]
    )
    seed: Seed = 0

    @model_validator(mode="after")
    def check_one_kind(self) -> ForgetChoice:
        """Refuse two kinds of request, none, and a seed that nothing uses."""
        kinds = "one of class, indices, ids, fraction, predicate"
        kinds_given = self.list_kinds()
        if not kinds_given:
            raise validation_error(kinds, "none of them", "write for example `class: 0`")
        if len(kinds_given) > 1:
            raise validation_error(
                f"exactly {kinds}", " and ".join(kinds_given), "write one request per file", kinds_given[1]
            )
        if "seed" in self.model_fields_set and kinds_given != ["fraction"]:
            raise validation_error("seed beside fraction only", f"it beside {kinds_given[0]}", "remove it", "seed")
        return self

    def list_kinds(self) -> list[str]:
        """Return the kinds that are set."""
        values = {"class": self.class_, "indices": self.indices, "ids": self.ids, "fraction": self.fraction}
        values["predicate"] = self.predicate
        return [kind for kind, value in values.items() if value is not None]

    @property
    def kind(self) -> str:
        """One of ``class``, ``indices``, ``ids``, ``fraction``, ``predicate``."""
        return self.list_kinds()[0]


ShortText = Annotated[str, Field(min_length=1, max_length=200)]


class NoteChoice(ConfigSection):
    """What a request says of itself: the report shows the title, and the ledger keeps keyed hashes of all.

    Args:
        title: What it is called.
        ticket: Its number elsewhere.
        requester: Who asks.
    """

    title: ShortText | None = Field(None, examples=["Deletion for 25 customers"])
    ticket: ShortText | None = Field(None, examples=["T-1234"])
    requester: ShortText | None = Field(None, examples=["privacy office"])


def as_tuple(value: Any) -> Any:
    """Return a list of what stands alone, and as a tuple what is a list; nothing where there is none."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def expand_classes(value: Any) -> Any:
    """Return the section that a class or a list of them alone stands for; a section is returned as it is."""
    return value if value is None or isinstance(value, dict) else {"classes": as_tuple(value)}


class ExcludeChoice(ConfigSection):
    """What earlier requests forgot, where no ledger says it: a class or a list of them, or a mapping.

    Args:
        classes: Classes by number or name, forgotten as a whole. Default none.
        indices: A text file with one index of a training example per line. Default none.
        ids: A file of ids, one per line or a ``.json`` list. Default none.
        id_column: Column of the data that holds the ids, for ``ids`` only. Default: the ids that the data come with.
    """

    classes: Annotated[tuple[Annotated[int | str, BeforeValidator(validate_class)], ...], BeforeValidator(as_tuple)] = (
        Field((), examples=["[3]"])
    )
    indices: RelativePath | None = Field(None, examples=["forgotten.txt"])
    ids: RelativePath | None = Field(None, examples=["ids.txt"])
    id_column: ColumnName = Field(None, examples=["customer_id"])

    @model_validator(mode="after")
    def check_not_empty(self) -> ExcludeChoice:
        """Refuse a section that excludes nothing, and a column of ids that nothing uses."""
        if not self.classes and self.indices is None and self.ids is None:
            hint = "write for example `exclude: [3]`, or remove the key"
            raise validation_error("classes, indices or ids", "none of them", hint)
        if self.id_column is not None and self.ids is None:
            raise validation_error("id_column beside ids only", "it alone", "remove it", "id_column")
        return self


class MethodChoice(ConfigSection):
    """The method, and its settings beside its name.

    Args:
        name: A registered method, a composition such as ``eupmu + feasible(lenient, delta=0.1)``, or ``auto``.
        settings: Everything else in the section; checked against the method once that is imported.
    """

    name: Annotated[str, AfterValidator(validate_method_name)] = Field(examples=["eupmu"])
    settings: dict[str, Any] = {}

    @property
    def automatic(self) -> bool:
        """Whether the method is still to be chosen."""
        return self.name == AUTO

    @model_validator(mode="before")
    @classmethod
    def expand_shorthand(cls, value: Any) -> Any:
        """Turn the short form into the long one, and gather the settings that stand beside the name."""
        return collect_settings(value)


class LoggerChoice(ConfigSection):
    """A logger, and its settings beside its name; they are checked against it once it is imported.

    Args:
        name: A registered logger.
        settings: Everything else in the section.
    """

    name: Annotated[str, AfterValidator(make_name_validator("loggers"))] = Field(examples=["tensorboard"])
    settings: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def expand_shorthand(cls, value: Any) -> Any:
        """Turn the short form into the long one, and gather the settings that stand beside the name."""
        return collect_settings(value)


class TrainChoice(ConfigSection):
    """How the original, and the reference that never saw the forgotten data, are trained.

    Args:
        epochs: Passes over the training data. Default 20.
        batch_size: Examples per step. Default 128.
        lr: Peak learning rate of SGD. Default 0.1.
        momentum: Its momentum. Default 0.9.
        weight_decay: L2 penalty of all weights. Default 5e-4.
        schedule: ``one_cycle``, ``cosine``, ``step`` or ``constant``. Default ``one_cycle``.
        warmup_epochs: Epochs of linear rise before the schedule. Default 0.
        label_smoothing: Share of the target that is spread over all classes. Default 0.
        precision: ``fp32`` or ``bf16``. Default ``fp32``.
    """

    epochs: PositiveInt = 20
    batch_size: PositiveInt = 128
    lr: Annotated[float, Field(gt=0)] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    schedule: Literal["one_cycle", "cosine", "step", "constant"] = "one_cycle"
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"


class CheckpointChoice(ConfigSection):
    """How often a run saves its state: whenever one of the two is reached.

    Args:
        seconds: Since the last time; more where saving would take more than 2 % of the run. Default 60.
        steps: Since the last time. Default: no such limit.
    """

    seconds: Annotated[float, Field(gt=0)] = 60.0
    steps: PositiveInt | None = Field(None, examples=[500])
