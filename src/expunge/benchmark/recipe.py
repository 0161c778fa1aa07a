"""The recipe of a comparison: what may stand in its file, in the vocabulary of request files.

Examples:
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "recipe.yaml")
    >>> lines = "model: small_cnn", "data: digits", "requests: [{class: 3}]", "methods: [ft, salunn]"
    >>> _ = file.write_text(chr(10).join(lines))
    >>> load_recipe(file)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    expunge.errors.ConfigError: recipe.yaml line 4: Expected one of the methods ... did you mean 'salun'.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationError, model_validator

from expunge.errors import ConfigError
from expunge.registry import AUTO
from expunge.request.budget_section import BudgetChoice
from expunge.request.checks import format_value, validate_device, validate_time_limit, validation_error
from expunge.request.config import find_request_class, validate_task
from expunge.request.document import RequestDocument, read_document
from expunge.request.model_request import ModelRequest
from expunge.request.request_file import RequestFile
from expunge.request.sections import (
    ConfigSection,
    DataChoice,
    ForgetChoice,
    Fraction,
    MethodChoice,
    ModelChoice,
    PositiveInt,
    Precision,
    Seed,
    TrainChoice,
    collect_settings,
    expand_name,
)
from expunge.request.validation_errors import translate_validation_error
from expunge.type_checks import check_argument_types

RequestKind = Literal["class", "indices", "ids", "fraction", "predicate"]
Grid = dict[str, list[Any]]
ENTRY_KEYS = ("id", "label", "requests", "overrides", "tune")
"""Keys of an entry that say something of the row, not of the method."""
RETRAIN_METHODS = ("retrain", "exact", "from_scratch")


def validate_distinct(values: list[Any]) -> list[Any]:
    """Return a list that says nothing twice and is not empty."""
    if not values:
        raise validation_error("at least one", "an empty list", "name one, or remove the key")
    if any(value in values[:place] for place, value in enumerate(values)):
        raise validation_error("each once", "one twice", "remove the second")
    return values


def validate_grid(grid: Any) -> Any:
    """Return a grid: one setting with the values to try."""
    if not isinstance(grid, dict) or len(grid) != 1 or not isinstance(next(iter(grid.values())), list):
        hint = "write for example `tune: {lr: [0.001, 0.01]}`"
        raise validation_error("one setting with a list of values to try", format_value(grid), hint)
    validate_distinct(next(iter(grid.values())))
    return grid


ParamGrid = Annotated[Grid, BeforeValidator(validate_grid)]
Seeds = Annotated[list[Seed], AfterValidator(validate_distinct)]


class MethodEntry(MethodChoice):
    """A row of the comparison: a method with its settings, and what is special to the row.

    Args:
        id: Short name of the row, once per recipe. Default: the method as it is written.
        label: How tables call it. Default: the method's own label.
        requests: The one kind of requests that it is for. Default: all.
        overrides: Settings for one kind of requests, such as ``{class: {exclude_true: true}}``. Default none.
        tune: Its own grid, instead of that of the recipe.
    """

    id: str = Field("", examples=["salun"])
    label: str = Field("", examples=["SalUn"])
    requests: RequestKind | None = Field(None, examples=["class"])
    overrides: dict[RequestKind, dict[str, Any]] = Field({}, examples=["{class: {exclude_true: true}}"])
    tune: ParamGrid | None = Field(None, examples=["{lr: [0.001, 0.01]}"])

    @model_validator(mode="before")
    @classmethod
    def expand_shorthand(cls, value: Any) -> Any:
        """Turn the short form into the long one, and gather the settings of the method."""
        long = expand_name(value)
        entry_settings = {key: long[key] for key in ENTRY_KEYS if key in long}
        method_settings = collect_settings({key: item for key, item in long.items() if key not in ENTRY_KEYS})
        return {**method_settings, "id": method_settings.get("name", ""), **entry_settings}

    @property
    def tunable(self) -> bool:
        """Whether something is left to tune.

        ``auto`` searches by itself, inside its own cell, where the time is counted; retraining is no unlearning.
        """
        return self.name not in (AUTO, *RETRAIN_METHODS)

    def as_method_choice(self, kind: RequestKind, more: dict[str, Any] | None = None) -> MethodChoice:
        """Return the method alone, as a kind of requests has it, perhaps with a setting that was tuned."""
        settings = {**self.settings, **self.overrides.get(kind, {}), **(more or {})}
        return MethodChoice.model_construct(name=self.name, settings=settings)  # the name was checked already


class TuneChoice(ConfigSection):
    """How one setting of every method is chosen, the same number of runs for each.

    The criterion looks at held-out examples of its own, never at a retrained model or at the test data of the table.

    Args:
        grid: One setting and its values, for methods that have no grid of their own; written as ``lr: [...]``.
        seeds: Seeds of the trials, none of them among those shown. Default 1000.
        holdout_fraction: Share of the test data that trials are judged on, and nothing else is. Default .1.
    """

    grid: ParamGrid | None = Field(None, examples=["{lr: [0.001, 0.01]}"])
    seeds: Seeds = Field([1000], examples=["[1000]"])
    holdout_fraction: Fraction = 0.1

    @model_validator(mode="before")
    @classmethod
    def expand_shorthand(cls, value: Any) -> Any:
        """Turn ``{lr: [...]}`` into the grid."""
        if not isinstance(value, dict):
            raise validation_error("a mapping", format_value(value), "write for example `tune: {lr: [0.001, 0.01]}`")
        rest = {key: item for key, item in value.items() if key not in cls.model_fields}
        known = {key: item for key, item in value.items() if key in cls.model_fields}
        if rest and "grid" in known:
            raise validation_error("one grid", "grid and another setting", "keep one of them", next(iter(rest)))
        return {**known, **({"grid": rest} if rest else {})}


class BenchmarkRecipe(ConfigSection):
    """A comparison: requests × seeds × methods, on one network and data set.

    Seed s draws the training images (where ``data`` names a subset without ``subset_seed``) and the forgotten ones, and
    fixes initialization and order. Held-out, tuning and test examples are the same at every seed, so that what chose a
    setting at one seed is no test example of another.

    Args:
        title: What tables are called. Default: the file's name.
        task: What kind of model it is about, one that requests can train. Default ``classification``.
        model: The classifier.
        data: What it is trained on.
        train: How the original and the references are trained.
        holdout: Share of the test data that methods may use, and no figure is computed on. Default none.
        requests: What to forget, each as in a request file.
        seeds: Default 0, 1 and 2.
        num_retrained: Networks retrained for each request and seed: 2 (default), the second for the noise floor, or 1.
        methods: Rows of the table: a name, a composition, or a mapping with settings.
        budget: What may be lost, for ``auto`` and for methods that can keep a budget. Default none.
        priority: What comes first where a budget cannot be kept: ``budget`` (default) or ``forgetting``.
        time_limit: Time that ``auto`` may take for everything.
        tune: How a setting is chosen. Default: every method as it is written.
        device: As in a request file. Default ``auto``.
        batch_norm: As in a request file.
        gradient_accumulation_steps: As in a request file.
        precision: As in a request file.
        channels_last: As in a request file; like the device it has no part in the names of cells.
    """

    title: str = ""
    task: str = "classification"
    model: ModelChoice = Field(examples=["resnet20"])
    data: DataChoice = Field(examples=["cifar10"])
    train: TrainChoice = TrainChoice()
    holdout: Fraction | None = Field(None, examples=[0.3])
    requests: Annotated[list[ForgetChoice], AfterValidator(validate_distinct)] = Field(examples=["[{class: 0}]"])
    seeds: Seeds = Field([0, 1, 2], examples=["[0, 1, 2]"])
    num_retrained: Literal[1, 2] = 2
    methods: Annotated[list[MethodEntry], AfterValidator(validate_distinct)] = Field(examples=["[ft, salun]"])
    budget: BudgetChoice | None = Field(None, examples=[1.0])
    priority: Literal["budget", "forgetting"] = "budget"
    time_limit: Annotated[str | float | None, BeforeValidator(validate_time_limit)] = Field(None, examples=["10min"])
    tune: TuneChoice | None = Field(None, examples=["{lr: [0.001, 0.01]}"])
    device: Annotated[str, AfterValidator(validate_device)] = "auto"
    batch_norm: Literal["frozen", "joint", "separate"] | None = Field(None, examples=["frozen"])
    gradient_accumulation_steps: PositiveInt = 1
    precision: Precision = "fp32"
    channels_last: bool | None = Field(None, examples=[True])
    _document: RequestDocument | None = PrivateAttr(None)

    @model_validator(mode="after")
    def check_consistency(self) -> BenchmarkRecipe:
        """Refuse what contradicts itself."""
        keys = [entry.id for entry in self.methods]
        if twice := next((key for place, key in enumerate(keys) if key in keys[:place]), None):
            raise validation_error(
                "an id of its own for every method", f"'{twice}' twice", "add `id: …` to one", "methods"
            )
        for request in self.requests:
            if "seed" in request.model_fields_set:
                raise validation_error(
                    "requests without a seed", "one", "remove it; `seeds` draws the examples", "requests"
                )
        if self.budget is not None and self.holdout is None:
            hint = "add for example `holdout: 0.3`"
            raise validation_error("held-out examples to measure the budget on", "no holdout", hint, "budget")
        self.check_tuning()
        return self

    def check_tuning(self) -> None:
        """Refuse tuning that is not the same for all methods, or that sees what it must not."""
        if self.tune is None:
            grids = [entry.id for entry in self.methods if entry.tune is not None]
            if grids:
                hint = "add for example `tune: {seeds: [1000]}`"
                raise validation_error("a section 'tune' beside the grids of methods", "none", hint, "methods")
            return
        shared_seeds = sorted({*self.tune.seeds} & {*self.seeds})
        if shared_seeds:
            raise validation_error(
                "tuning seeds apart from those shown", f"{shared_seeds[0]} among both", "use another", "tune"
            )
        if self.tune.holdout_fraction + (self.holdout or 0) >= 1:
            raise validation_error("test data beside holdout and tune.holdout", "none", "lower one of them", "tune")
        counts = {entry.id: len(self.tuning_values(entry)) for entry in self.methods if entry.tunable}
        if len({*counts.values()}) > 1:
            actual = ", ".join(f"{key}: {count}" for key, count in counts.items())
            raise validation_error(
                "the same number of tuning runs for every method", actual, "even the grids out", "tune"
            )

    def where(self, *keys: str | int) -> str:
        """Return the place of a setting, for messages."""
        return self._document.where(*keys) if self._document else ""

    def tuning_grid(self, entry: MethodEntry) -> Grid:
        """Return the grid of a method; empty where nothing is tuned."""
        if self.tune is None or not entry.tunable:
            return {}
        return entry.tune or self.tune.grid or {}

    def tuning_values(self, entry: MethodEntry) -> list[dict[str, Any]]:
        """Return the settings that are tried for a method."""
        return [{param: value} for param, values in self.tuning_grid(entry).items() for value in values]

    def request_kind(self, request: int) -> RequestKind:
        """Return the kind of a request."""
        return cast(RequestKind, self.requests[request].kind)

    def request_key(self, request: int) -> str:
        """Return the short name of a request, such as ``class-0``."""
        chosen = self.requests[request]
        value = getattr(chosen, "class_" if chosen.kind == "class" else chosen.kind)
        return f"{chosen.kind}-{value.stem if isinstance(value, Path) else value}"

    def build_config(
        self, request: int | None, seed: int, method: MethodChoice | None = None, **more: Any
    ) -> ModelRequest:
        """Return a cell as a request file.

        Args:
            request: Its place in the list; None for what is the same for all requests.
            seed: Of the cell.
            method: Default ``auto``, where nothing depends on it.
            **more: Such as ``budget``.
        """
        forget = self.requests[request or 0]
        forget = forget if forget.fraction is None else forget.model_copy(update={"seed": seed})
        drawn = self.data.subset is not None and "subset_seed" not in self.data.model_fields_set
        data = self.data.model_copy(update={"subset_seed": seed}) if drawn else self.data
        request_class: Any = find_request_class(self.task)
        config: RequestFile = request_class(
            task=self.task,
            model=self.model,
            data=data,
            train=self.train,
            holdout=self.holdout,
            forget=forget,
            method=method or MethodChoice.model_construct(name=AUTO, settings={}),
            seed=seed,
            device=self.device,
            batch_norm=self.batch_norm,
            gradient_accumulation_steps=self.gradient_accumulation_steps,
            precision=self.precision,
            channels_last=self.channels_last,
            **more,
        )
        if self._document is not None:
            object.__setattr__(config, "_document", self._document)
        return config.as_model_request("compare models that requests can train")


@check_argument_types
def load_recipe(path: Path | str) -> BenchmarkRecipe:
    """Return the recipe that a YAML file holds; paths in it are relative to its folder.

    Args:
        path: The file.

    Raises:
        ConfigError: With the line of the first thing that is wrong, and the cure.
    """
    document = read_document(Path(path))
    if "train" not in find_request_class(validate_task(document)).model_fields:
        hint = "leave the task out for classifiers"
        raise ConfigError(
            "a task whose requests train their models", document.data["task"], hint, document.where("task")
        )
    data = {"title": document.path.stem, **document.data}
    try:
        recipe = BenchmarkRecipe.model_validate(data, context={"folder": document.path.parent})
    except ValidationError as error:
        raise translate_validation_error(error, document, BenchmarkRecipe) from None
    recipe._document = document
    for index, request in enumerate(recipe.requests):
        if request.indices is not None and not request.indices.is_file():
            where = document.where("requests", index, "indices")
            hint = "paths are relative to the recipe's folder"
            raise ConfigError("a file for 'indices'", f"none at '{request.indices}'", hint, where)
    return recipe
