"""The parts of a request, read and checked one by one, each refusal with the line of the setting to blame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from expunge.api.admission import check_inputs, check_weights, few, head_size
from expunge.api.chain import (
    NOTHING_LEFT_OUT,
    LeftOut,
    entries_without_ids,
    find_earlier,
    leave_out,
    trace_chain,
)
from expunge.api.digests import state_digest, weights_digest
from expunge.api.duplicates import without_copies
from expunge.api.folder import ORIGINAL
from expunge.api.inputs import as_request, fresh_model, held_out, read_exclusions, read_source
from expunge.api.other_chains import forgotten_beside, forgotten_elsewhere
from expunge.api.request.budgeted_request import BudgetedRequest
from expunge.api.request.config import RunConfig
from expunge.api.request.request_file import DataRequest, RequestFile
from expunge.api.steering.auto import VOTES
from expunge.batch import Examples, Predictor
from expunge.data import Request, Source, Subset, check_labels, split_request
from expunge.engine.conditions import ignore
from expunge.errors import ConfigError, DataError, ExpungeError
from expunge.key import load_key
from expunge.ledger import Ledger
from expunge.methods import Method, build_method
from expunge.pair import Pair
from expunge.tasks.classification.check import check_trainable
from expunge.tasks.classification.training import TrainSettings
from expunge.tasks.family import Family
from expunge.weights import check_savable, load_into, taken_off


@contextmanager
def located(config: RequestFile, *keys: str) -> Iterator[None]:
    """Give an error that the body raises the line of the setting that is to blame."""
    try:
        yield
    except ExpungeError as error:
        error.where = error.where or config.where(*keys)
        raise


def checked_method(config: RequestFile, family: Family | None = None) -> Method:
    """Return the method, for ``auto`` what it begins with; a wrong setting is refused with its line.

    Args:
        config: The request.
        family: Of the model, for its usual settings and its objectives. Default: classifiers.
    """
    name, settings = method_name(config, family), config.method.settings
    try:
        method = build_method(name, **(settings if family is None else family.settings(name, settings)))
        recipe = method.recipe(config.seed)
        if family is not None:
            family.recipe(recipe)
    except ExpungeError as error:
        wrong = [key for key, value in settings.items() if is_refused(name, key, value)]
        error.where = config.where_setting(*wrong[:1])
        raise
    return method


def method_name(config: RequestFile, family: Family | None) -> str:
    """Return the name of the method, for ``auto`` of the one that it stands for."""
    if not config.method.automatic:
        return config.method.name
    return VOTES if family is None else family.stands_for(budgeted=getattr(config, "budget", None) is not None)


def is_refused(name: str, key: str, value: Any) -> bool:
    """Return whether a method refuses a setting by itself."""
    try:
        build_method(name, **{key: value}).recipe()
    except ExpungeError:
        return True
    return False


def checked_source(config: DataRequest, data_dir: Path | None) -> Source:
    """Return the data, with labels that have a name each and inputs that are finite, as far as one can see."""
    with located(config, "data"):
        source = read_source(config, data_dir)
        for name, examples in (("train", source.train), ("test", source.test)):
            if not len(examples):
                raise DataError(f"at least one {name} example", "none", "check the data set")
            check_labels(examples, len(source.class_names))
            check_inputs(few(examples))
    return source


class Parts(NamedTuple):
    """The data of a request: the source without what is held out, the latter, the request, and where its sides are.

    Of all of these, and of what the sides retain, ``left_out`` says what is left out because it was forgotten before.
    """

    source: Source
    holdout: Examples | None
    request: Request
    positions: Pair[torch.Tensor]
    left_out: LeftOut = NOTHING_LEFT_OUT

    @property
    def sides(self) -> Pair[Subset]:
        """The training examples of both sides."""
        return self.positions.map(lambda part: Subset(self.source.train, part))


def parted(config: BudgetedRequest, data_dir: Path | None) -> Parts:
    """Return the data of a request, held out and split as it says, each refusal with the line to blame."""
    source = checked_source(config, data_dir)
    with located(config, "holdout"):
        source, holdout = held_out(source, config.holdout, config.seed)
    with located(config, "forget", config.forget.kind):
        request = as_request(config)
        positions = split_request(source.train, request, source.class_names)
    with located(config, "exclude"):
        parts = without_copies(Parts(source, holdout, request, positions))
        return leave_out(parts, read_exclusions(config, source))


def leave_out_chain(config: BudgetedRequest, parts: Parts, original: nn.Module, path: Path | None) -> Parts:
    """Return the data of a request without what the ledger's earlier requests of the original's chain forgot.

    Args:
        config: The request.
        parts: Its data.
        original: The model that it is made to.
        path: The file or folder of its weights; None where there is none.
    """
    if config.ledger is None or not config.ledger.exists():
        return parts
    with located(config, "ledger"):
        key = load_key()
        models = [state_digest(original, key), *([] if path is None else [weights_digest(path, key)])]
        entries = Ledger(config.ledger).entries()
        known, unknown = trace_chain(entries, *models)
        parts = leave_out(parts, find_earlier(parts.source.train, known, key), unknown)
        elsewhere = forgotten_elsewhere(parts.sides.retain, entries, key, *models)
        without_ids = entries_without_ids(parts.source.train, known)
        beside = forgotten_beside(parts.sides.retain, entries, key, *models)
        told = replace(parts.left_out, elsewhere=elsewhere, without_ids=without_ids, beside=beside)
        return parts._replace(left_out=told)


def given_weights(config: RunConfig, overwrite: bool) -> Path | None:
    """Return the file that the original's weights are read from; None if they are to be trained or are in the model.

    Without the key ``checkpoint``, it is what ``expunge train`` left in the run folder.
    """
    if config.train is None:
        return config.checkpoint
    path = config.checkpoint or (None if overwrite else config.out / ORIGINAL)
    return path if path is not None and path.exists() else None


def loaded(
    config: RunConfig,
    source: Source,
    device: torch.device,
    path: Path | None,
    key: str,
    say: Callable[[str], None] = ignore,
) -> nn.Module:
    """Return the network that the request names, with the weights of a file where one is given.

    A prefix that had to be taken off the file's names is told to ``say``.
    """
    with located(config, "model"):
        model = fresh_model(config, source, config.seed).to(device)
    with located(config, key):
        if path is not None:
            prefix = load_into(model, path)
            check_weights(model)
            if prefix:
                say(taken_off(prefix, path))
    return model


def trainable_model(config: RunConfig, source: Source) -> nn.Module:
    """Return the network that the request names, fresh, after all that can be checked before it is trained has been."""
    with located(config, "model"):
        model = fresh_model(config, source, config.seed)
        check_savable(model.state_dict())
        check_trainable(model)
        check_labels(source.train, head_size(Predictor(model), source.train))
    return model


def train_settings(config: RunConfig) -> TrainSettings:
    """Return how to train.

    Raises:
        ConfigError: If the request does not say so, or its settings contradict each other.
    """
    with located(config, "train"):
        if config.train is None:
            raise ConfigError("the section 'train'", "none", "add `train: {epochs: 20}`")
        return TrainSettings(**config.train.model_dump(), seed=config.seed)
