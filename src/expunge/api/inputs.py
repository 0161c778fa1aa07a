"""From a request file's sections to data, requests and networks."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping, Sized
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import nn

from expunge.api.earlier_requests import EarlierRequest, find_class_positions
from expunge.api.result import get_task
from expunge.batch import Examples
from expunge.data import (
    ByClass,
    ByFraction,
    ByIds,
    ByIndices,
    ByPredicate,
    ForgetRequest,
    LabeledDataset,
    Subset,
    as_examples,
    crop_flip,
    get_root,
    none,
    num_classes,
)
from expunge.errors import ConfigError, DataError, ExpungeError, RequestError, format_exception
from expunge.python_path import import_object
from expunge.registry import find_component
from expunge.request.checks import format_value, suggest
from expunge.request.model_request import ModelRequest
from expunge.request.request_file import DataRequest

_FACTORY_KEYS = ("train", "test", "class_names", "ids")
_HOLDOUT_HINT = "remove it; the request's key `holdout` takes a share of the test examples for the method's own use"
_TYPE_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
AUGMENTATIONS = {"none": none, "crop_flip": crop_flip}


def read_source(config: DataRequest, data_dir: Path | None) -> LabeledDataset:
    """Return the data that a request names."""
    chosen = config.data
    if chosen.factory is not None:
        factory = import_object(chosen.factory)
        check_options(chosen.factory, factory, **chosen.options)
        with user_code_errors(chosen.factory):
            source = build_source(factory(**chosen.options), chosen.factory, config.id_column)
    else:
        folder, reader = chosen.dir or data_dir, find_component("readers", str(chosen.name))
        options = chosen.options | _id_column_option(config, reader)
        check_options(str(chosen.name), reader, folder, **options)
        _check_types(str(chosen.name), reader, options)
        with (
            nullcontext()
            if getattr(reader, "__module__", "").startswith("expunge.")
            else user_code_errors(str(chosen.name))
        ):
            source = reader(folder, **options)
    if chosen.factory is None or "augment" in chosen.model_fields_set:
        set_augmentation(source.train, chosen.augment)
    return source if chosen.subset is None else source.subset(chosen.subset, chosen.subset_seed)


def _id_column_option(config: DataRequest, reader: Any) -> dict[str, Any]:
    """Return the reader's option that names the column of ids; none where the request names no such column."""
    if config.id_column is None:
        return {}
    if "id_column" not in inspect.signature(reader).parameters:
        actual, hint = f"'{config.data.name}', which has none", "pass the data from Python, with ids for each example"
        raise ConfigError("data with columns for id_column", actual, hint)
    return {"id_column": config.id_column}


def check_options(name: str, factory: Any, *arguments: Any, **options: Any) -> None:
    """Refuse options that a reader or a data factory does not take."""
    if not callable(factory):
        raise ConfigError(f"'{name}' to be a function", type(factory).__name__, "name a function that returns the data")
    try:
        inspect.signature(factory).bind(*arguments, **options)
    except TypeError as error:
        actual = f"{', '.join(options) or 'none'} ({error})"
        raise ConfigError(f"options that '{name}' takes", actual, "correct the options") from error
    except ValueError:  # a few built-in callables have no signature
        return


def _check_types(name: str, reader: Any, options: Mapping[str, Any]) -> None:
    """Refuse options of another type than a reader's annotations say, as far as it has some."""
    try:
        hints = get_type_hints(reader)
    except Exception:  # annotations may name what cannot be imported
        return
    for key, value in options.items():
        if (hint := hints.get(key)) in _TYPE_NAMES and not _has_type(value, hint):
            raise ConfigError(f"{_TYPE_NAMES[hint]} as '{key}' of '{name}'", format_value(value), "correct the options")


def _has_type(value: Any, hint: Any) -> bool:
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


@contextmanager
def user_code_errors(path: str) -> Iterator[None]:
    """Turn whatever a user's data factory or data set raises into one sentence."""
    try:
        yield
    except ExpungeError:
        raise
    except Exception as error:
        raise DataError(
            f"data from '{path}'", format_exception(error), "mend the code; it must run by itself"
        ) from error


def set_augmentation(examples: Examples, name: str) -> None:
    """Set what training and unlearning may do to the pictures; evaluation never does it."""
    root: Any = get_root(examples)
    if hasattr(root, "augment") or name != "none":
        root.augment = AUGMENTATIONS[name]


def build_source(output: Any, path: str, id_column: str | None = None) -> LabeledDataset:
    """Return what a user's data factory made as a source."""
    if isinstance(output, LabeledDataset):
        return output
    if isinstance(output, tuple) and len(output) == 2:
        output = {"train": output[0], "test": output[1]}
    if not isinstance(output, Mapping) or not {"train", "test"} <= output.keys():
        expected = "a data factory that returns (train, test), or a mapping with train, test and class_names"
        raise DataError(expected, f"{type(output).__name__} from '{path}'", "return one of these")
    for key in output:
        if key not in _FACTORY_KEYS:
            hint = suggest(str(key), list(_FACTORY_KEYS), "remove it" if key != "holdout" else _HOLDOUT_HINT)
            raise DataError(f"a data factory with {', '.join(_FACTORY_KEYS)} alone", f"'{key}' from '{path}'", hint)
    train, test, names = as_examples(output["train"]), as_examples(output["test"]), output.get("class_names")
    if names is None:
        names = [str(number) for number in range(max(num_classes(train), num_classes(test)))]
    if isinstance(names, str | Mapping) or not isinstance(names, Collection):
        raise DataError("class_names as a list", f"{type(names).__name__} from '{path}'", "list a name for each class")
    if output.get("ids") is not None:
        attach_ids(train, output["ids"], id_column, path)
    return LabeledDataset(train, test, tuple(map(str, names)), path, "the user's own", image_shape(train))


def attach_ids(train: Examples, ids: Any, column: str | None, path: str) -> None:
    """Give training examples the ids that a data factory returns for them."""
    if isinstance(ids, Mapping):
        column = next(iter(ids)) if column is None and len(ids) == 1 else column
        if column is None:  # who asks for ids is told to name one of the columns
            return
        if column not in ids:
            hint = suggest(column, [str(key) for key in ids], "name one of them with id_column")
            expected = f"one of the columns of ids of '{path}' ({', '.join(map(str, ids))})"
            raise DataError(expected, f"'{column}'", hint)
        ids = ids[column]
    if isinstance(train, Subset) or not isinstance(ids, Sized) or len(ids) != len(train):
        actual = f"{len(ids)} for {len(train)}" if isinstance(ids, Sized) else type(ids).__name__
        hint = "list them in the order of the training examples, which are no Subset"
        raise DataError(f"one id for each training example from '{path}'", actual, hint)
    train.ids = ids  # type: ignore[attr-defined]


def image_shape(examples: Examples) -> tuple[int, int, int]:
    """Return channels, height and width of the first input; 1, 1 and 1 where it is no picture."""
    first = examples.batch(torch.tensor([0])).inputs
    if not isinstance(first, torch.Tensor) or first.ndim != 4:
        return 1, 1, 1
    channels, height, width = first.shape[1:]
    return channels, height, width


def as_request(config: DataRequest) -> ForgetRequest:
    chosen = config.forget
    if chosen.class_ is not None:
        return ByClass(chosen.class_)
    if chosen.indices is not None:
        return ByIndices(chosen.indices)
    if chosen.ids is not None:
        return ByIds(chosen.ids)
    if chosen.fraction is not None:
        return ByFraction(chosen.fraction, chosen.seed)
    return ByPredicate(str(chosen.predicate))


def read_exclusions(config: DataRequest, source: LabeledDataset) -> list[EarlierRequest]:
    """Return what a request file says that earlier requests forgot, none where it says nothing."""
    chosen, names = config.exclude, source.class_names
    if chosen is None:
        return []
    classes = tuple(sorted({ByClass(label).class_index(names) for label in chosen.classes}))
    unknown = [label for label in classes if not 0 <= label < len(names)]
    if unknown:
        hint = "name classes of the data"
        raise RequestError(f"classes from 0 to {len(names) - 1} to exclude", str(unknown[0])[:20], hint)
    requests: list[ForgetRequest] = [] if chosen.indices is None else [ByIndices(chosen.indices)]
    requests += [] if chosen.ids is None else [ByIds(chosen.ids)]
    class_positions = find_class_positions(source.train, classes)
    positions = torch.cat([class_positions, *(request.select(source.train, names) for request in requests)]).unique()
    return [EarlierRequest(None, positions, classes)]


def take_holdout(source: LabeledDataset, fraction: float | None, seed: int) -> tuple[LabeledDataset, Examples | None]:
    """Return the source with a smaller test set, and the examples taken out of it for the method's own use."""
    if fraction is None:
        return source, None
    order = torch.randperm(len(source.test), generator=torch.Generator().manual_seed(seed))
    count = round(fraction * len(order))
    if not 0 < count < len(order):
        raise ConfigError("a holdout share that leaves examples on both sides", f"{fraction}", "use .1 to .5")
    return replace(source, test=Subset(source.test, order[count:])), Subset(source.test, order[:count])


def create_model(config: ModelRequest, source: LabeledDataset, seed: int) -> nn.Module:
    """Return the network that the request names, initialized from a seed of its own.

    Its options may say another number of classes or channels than the data have; the checks come later.
    """
    task = get_task(config.task)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return task.create_model(config.model.name, **{**get_sizes(source), **config.model.options})


def get_sizes(source: LabeledDataset) -> dict[str, int]:
    """Return what the factory of a network is told of the data."""
    return {"classes": len(source.class_names), "channels": source.shape[0]}


def resolve_device(name: str) -> torch.device:
    """Return the device that a request names; ``auto`` takes an accelerator where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError("a device that is there", f"'{name}'", "use device: auto") from error
    return torch.device(name)
