"""The parts of a request, read and checked one by one, each refusal with the line of the setting to blame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from expunge.api.digests import state_digest, weights_digest
from expunge.api.duplicates import exclude_duplicates
from expunge.api.earlier_requests import (
    NO_EXCLUSIONS,
    Exclusions,
    exclude_forgotten,
    find_earlier,
    find_entries_without_ids,
    trace_chain,
)
from expunge.api.folder import ORIGINAL_FILE
from expunge.api.inputs import as_request, create_model, read_exclusions, read_source, take_holdout
from expunge.api.other_chains import forgotten_beside, forgotten_elsewhere
from expunge.api.result import get_task
from expunge.api.steering.auto import DEFAULT_METHOD
from expunge.api.validation import check_inputs, check_weights, infer_num_classes, take_probe_batch
from expunge.batch import Examples
from expunge.data import ForgetRequest, LabeledDataset, Subset, check_labels, split_request
from expunge.engine.run_options import noop
from expunge.errors import ConfigError, DataError, ExpungeError
from expunge.key import load_or_create_key
from expunge.ledger import Ledger
from expunge.methods import Method, build_method
from expunge.pair import Pair
from expunge.request.budgeted_request import BudgetedRequest
from expunge.request.model_request import ModelRequest
from expunge.request.request_file import DataRequest, RequestFile
from expunge.tasks.model_check import check_trainable
from expunge.tasks.task import Task
from expunge.tasks.train_settings import TrainSettings
from expunge.weights import check_savable, describe_removed_prefix, load_into


@contextmanager
def error_location(config: RequestFile, *keys: str) -> Iterator[None]:
    """Give an error that the body raises the line of the setting that is to blame."""
    try:
        yield
    except ExpungeError as error:
        error.location = error.location or config.where(*keys)
        raise


def validate_method(config: RequestFile) -> Method:
    """Return the method, for ``auto`` what it begins with; a wrong setting is refused with its line."""
    task, settings = get_task(config.task), config.method.settings
    name = resolve_method_name(config, task)
    try:
        method = build_method(name, **task.resolve_settings(name, settings))
        task.translate_recipe(method.recipe(config.seed))
    except ExpungeError as error:
        wrong = [key for key, value in settings.items() if rejects_setting(name, key, value)]
        error.location = config.where_setting(*wrong[:1])
        raise
    return method


def resolve_method_name(config: RequestFile, task: Task) -> str:
    """Return the name of the method, for ``auto`` of the one that it stands for."""
    if not config.method.automatic:
        return config.method.name
    return (
        DEFAULT_METHOD
        if task.is_classifier
        else task.select_default_method(has_budget=getattr(config, "budget", None) is not None)
    )


def rejects_setting(name: str, key: str, value: Any) -> bool:
    """Return whether a method refuses a setting by itself."""
    try:
        build_method(name, **{key: value}).recipe()
    except ExpungeError:
        return True
    return False


def validate_source(config: DataRequest, data_dir: Path | None) -> LabeledDataset:
    """Return the data, with labels that have a name each and inputs that are finite, as far as one can see."""
    with error_location(config, "data"):
        source = read_source(config, data_dir)
        for name, examples in (("train", source.train), ("test", source.test)):
            if not len(examples):
                raise DataError(f"at least one {name} example", "none", "check the data set")
            check_labels(examples, len(source.class_names))
            check_inputs(take_probe_batch(examples))
    return source


class RequestData(NamedTuple):
    """The data of a request: the source without what is held out, the latter, the request, and where its sides are.

    Of all of these, and of what the sides retain, ``left_out`` says what is left out because it was forgotten before.
    """

    source: LabeledDataset
    holdout: Examples | None
    request: ForgetRequest
    positions: Pair[torch.Tensor]
    left_out: Exclusions = NO_EXCLUSIONS

    @property
    def sides(self) -> Pair[Subset]:
        """The training examples of both sides."""
        return self.positions.map(lambda part: Subset(self.source.train, part))


def load_request_data(config: BudgetedRequest, data_dir: Path | None) -> RequestData:
    """Return the data of a request, held out and split as it says, each refusal with the line to blame."""
    source = validate_source(config, data_dir)
    with error_location(config, "holdout"):
        source, holdout = take_holdout(source, config.holdout, config.seed)
    with error_location(config, "forget", config.forget.kind):
        request = as_request(config)
        positions = split_request(source.train, request, source.class_names)
    with error_location(config, "exclude"):
        parts = exclude_duplicates(RequestData(source, holdout, request, positions))
        return exclude_forgotten(parts, read_exclusions(config, source))


def exclude_ledger_requests(
    config: BudgetedRequest, parts: RequestData, original: nn.Module, path: Path | None
) -> RequestData:
    """Return the data of a request without what the ledger's earlier requests of the original's chain forgot."""
    if config.ledger is None or not config.ledger.exists():
        return parts
    with error_location(config, "ledger"):
        key = load_or_create_key()
        models = [state_digest(original, key), *([] if path is None else [weights_digest(path, key)])]
        entries = Ledger(config.ledger).entries()
        known_entries, unknown = trace_chain(entries, *models)
        parts = exclude_forgotten(parts, find_earlier(parts.source.train, known_entries, key), unknown)
        foreign = forgotten_elsewhere(parts.sides.retain, entries, key, *models)
        without_ids = find_entries_without_ids(parts.source.train, known_entries)
        beside = forgotten_beside(parts.sides.retain, entries, key, *models)
        left_out = replace(parts.left_out, foreign_entries=foreign, without_ids=without_ids, beside=beside)
        return parts._replace(left_out=left_out)


def find_checkpoint_path(config: ModelRequest, overwrite: bool) -> Path | None:
    """Return the file that the original's weights are read from; None if they are to be trained or are in the model.

    Without the key ``checkpoint``, it is what ``expunge train`` left in the run folder.
    """
    if config.train is None:
        return config.checkpoint
    path = config.checkpoint or (None if overwrite else config.out / ORIGINAL_FILE)
    return path if path is not None and path.exists() else None


def load_network(
    config: ModelRequest,
    source: LabeledDataset,
    device: torch.device,
    path: Path | None,
    key: str,
    on_message: Callable[[str], None] = noop,
) -> nn.Module:
    """Return the network that the request names, with the weights of a file where one is given.

    A prefix that had to be taken off the file's names is told to ``on_message``.
    """
    with error_location(config, "model"):
        model = create_model(config, source, config.seed).to(device)
    with error_location(config, key):
        if path is not None:
            prefix = load_into(model, path)
            check_weights(model)
            if prefix:
                on_message(describe_removed_prefix(prefix, path))
    return model


def create_trainable_model(config: ModelRequest, source: LabeledDataset) -> nn.Module:
    """Return the network that the request names, fresh, after all that can be checked before it is trained has been."""
    with error_location(config, "model"):
        model = create_model(config, source, config.seed)
        check_savable(model.state_dict())
        check_trainable(model)
        task = get_task(config.task)
        predict = task.make_predictor(model)
        classes = task.count_classes(predict, source.train)
        check_labels(source.train, infer_num_classes(predict, source.train) if classes is None else classes)
    return model


def read_train_settings(config: ModelRequest) -> TrainSettings:
    """Return how to train."""
    with error_location(config, "train"):
        if config.train is None:
            raise ConfigError("the section 'train'", "none", "add `train: {epochs: 20}`")
        return TrainSettings(**config.train.model_dump(), seed=config.seed)
