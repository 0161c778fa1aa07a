"""Everything that a request needs, read and checked before anything is trained or written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import torch
from rich.console import Console
from torch import nn

from expunge.api.budgeting import BudgetPlan, build_split_manifest, prepare_budget
from expunge.api.digests import hmac_digest, state_digest
from expunge.api.earlier_requests import NO_EXCLUSIONS, Exclusions, build_forgotten_hashes, hash_forgotten
from expunge.api.folder import (
    CONFIG_FILE,
    MANIFEST_FILE,
    FolderMode,
    RunFolder,
    check_folder,
    check_same_config,
    check_same_data,
)
from expunge.api.inputs import resolve_device
from expunge.api.loading import error_location, exclude_ledger_requests, load_request_data, validate_method
from expunge.api.request_section import RequestInfo
from expunge.api.result import get_task
from expunge.api.resuming import check_code, write_config
from expunge.api.sanity import check_request_fit
from expunge.api.steering.budget_validation import drop_certify_half
from expunge.api.validation import validate_split
from expunge.batch import Split
from expunge.budget import Budget
from expunge.data import (
    ForgetRequest,
    LabeledDataset,
    Subset,
    build_manifest,
    combine_hashes,
    hash_examples,
    load_or_create_key,
)
from expunge.engine import ControlGroup
from expunge.engine.compiled import check_compiler
from expunge.ledger import ForgottenHashes, RequestRecord
from expunge.ledger.entry import RequestKind
from expunge.methods import Method
from expunge.pair import Pair
from expunge.request.budgeted_request import BudgetedRequest
from expunge.request.request_file import RequestFile
from expunge.tasks.task import Task

if TYPE_CHECKING:
    from expunge.api.execute import RunComparison, RunOutcome

Config = TypeVar("Config", bound=RequestFile)
DataConfig = TypeVar("DataConfig", bound=BudgetedRequest)


@dataclass
class Job(ABC, Generic[Config]):
    """A request whose every part is at hand; ``prepare_job`` makes one.

    Args:
        config: The request file.
        task: Of its model.
        folder_mode: What may become of an earlier run in the folder.
        console: Where progress goes.
        method: The method with its settings; for ``auto`` what it begins with.
        original: The model; its weights may still have to be trained.
        split: The examples of the request.
        checkpoint: The file or folder that the original's weights come from; None while there is none.
        budget_plan: The budget, where there is one.
        council: The processes that share its updates; None where this is the only one.
        left_out: What earlier requests forgot, and is left out of what the request retains, holds out and tests on.
    """

    outputs: ClassVar[Mapping[str, str]] = {}
    """What to say after a run → name of a file or folder in the run folder."""
    disclosure_note: ClassVar[str] = ""
    """What the result document says of the choice of settings beside the usual."""

    config: Config
    task: Task
    folder_mode: FolderMode
    console: Console
    method: Method = field(init=False)
    original: nn.Module = field(init=False)
    split: Split = field(init=False)
    checkpoint: Path | None = None
    budget_plan: BudgetPlan | None = None
    council: ControlGroup | None = None
    left_out: Exclusions = NO_EXCLUSIONS

    @abstractmethod
    def read(self, data_dir: Path | None) -> None:
        """Read everything and refuse what does not fit; nothing is written.

        Raises:
            ExpungeError: With the line of the request file that is to blame.
        """

    @abstractmethod
    def open_folder(self) -> RunFolder:
        """Return the run folder with what is known before the first step."""

    @abstractmethod
    def create_comparison(self) -> RunComparison:
        """Return what the models of the run are added to and measured by."""

    @abstractmethod
    def build_section(self, outcome: RunOutcome, show_examples: bool) -> dict[str, Any]:
        """Return the request's part of the result document, without what all tasks share."""

    @abstractmethod
    def build_request_record(self, key: bytes) -> RequestRecord:
        """Return what is to be forgotten, in keyed hashes."""

    @abstractmethod
    def build_forgotten_hashes(self, key: bytes) -> ForgottenHashes:
        """Return what is to be forgotten, one by one, in keyed hashes."""

    @property
    @abstractmethod
    def info(self) -> RequestInfo:
        """The request in the words of the report."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What the report is called."""

    @property
    def is_distributed(self) -> bool:
        """Whether other processes share its updates."""
        return self.council is not None

    def sync_errors(self) -> AbstractContextManager[None]:
        """Return the context of what every process has to succeed in: where one refuses, all do."""
        return nullcontext() if self.council is None else self.council.sync_errors()

    @property
    def device(self) -> torch.device:
        """Where to compute."""
        return next(self.original.parameters()).device

    @property
    def must_train(self) -> bool:
        """Whether the original is still untrained."""
        return False

    @property
    def model(self) -> nn.Module:
        """The model that is handed to ``unlearn``."""
        return self.original

    @property
    def weights(self) -> Path | None:
        """Where the original's weights are, once they are there; None for a model from Python or the hub."""
        return self.checkpoint

    @property
    def images_per_update(self) -> int:
        """Images in one update, for the speed beside a progress bar; 0 where it is not shown."""
        return 0

    @property
    def chosen_method(self) -> Method | None:
        """The method; None for ``auto``, which finds it in the run."""
        return None if self.config.method.automatic else self.method

    @property
    def budget(self) -> Budget | None:
        """What may be lost; None for no limit."""
        return None if self.budget_plan is None else self.budget_plan.budget_options.budget

    def build_split(self) -> Split:
        """Return the examples of the request, drawn now where a model draws them."""
        return self.split

    def check_fit(self, key: str) -> None:
        """Refuse a model that knows the data no better than chance, at the line of the key that names its weights."""
        visible = drop_certify_half(self.split, None if self.budget_plan is None else self.budget_plan.holdout_split)
        check_request_fit(self.config, self.task, self.task.make_predictor(self.original), visible, key=key)

    def cache_data(self) -> AbstractContextManager[None]:
        """Return the context in which the data may stay on an accelerator as a whole."""
        return nullcontext()

    def announce(self) -> None:
        """Say what earlier requests forgot and this one leaves out."""
        for sentence in self.left_out.sentences(self.info.class_names):
            self.console.print(sentence, soft_wrap=True)

    def train_original(self) -> None:
        """Train the original, where the request says so."""

    def check_trained(self) -> None:
        """Refuse an original that learned nothing."""

    def make_references(self) -> Iterator[tuple[nn.Module, float | None]]:
        """Yield models that never saw what is forgotten, with the seconds of their training; by default none."""
        yield from ()

    def save_answer(self, model: nn.Module) -> nn.Module:
        """Save the unlearned model in the run folder, and return it as it was saved."""
        return self.task.reload(model, self.task.save(model, self.folder.path, self.checkpoint))

    @property
    def answer(self) -> Path:
        """Where the unlearned model is."""
        return self.folder.path / self.task.weights_name

    def hash_state(self, model: nn.Module, key: bytes) -> str | None:
        """Return the keyed hash of a model in memory; None where models are known by their files alone."""
        return state_digest(model, key)

    def list_limitations(self, outcome: RunOutcome) -> list[str]:
        """Return what the result document has to say beside what all of them do."""
        return list(self.left_out.copies)

    def list_still_contains_data(self, section: Mapping[str, Any]) -> Sequence[str]:
        """Return sentences on what still holds the forgotten data."""
        return ()

    @cached_property
    def folder(self) -> RunFolder:
        """The run folder, opened by the first who writes: a request that ends before the first step leaves no trace."""
        return self.open_folder()


@dataclass
class DataJob(Job[DataConfig]):
    """A request about examples of a data set.

    Args:
        source: The data.
        request: The forget request.
        positions: Positions in the training data that it forgets and retains.
    """

    source: LabeledDataset = field(init=False)
    request: ForgetRequest = field(init=False)
    positions: Pair[torch.Tensor] = field(init=False)

    @abstractmethod
    def load_original(self, source: LabeledDataset, device: torch.device) -> nn.Module:
        """Return the original, and take note of where its weights come from."""

    def check_out(self) -> None:
        """Refuse places that the run would write to and must not."""

    def check_data(self) -> None:
        """Refuse data that do not fit the model, and read what else the request names."""

    def read(self, data_dir: Path | None) -> None:
        """Read data, model, method and budget, each refusal with the line to blame."""
        config = self.config
        with error_location(config, "out"):
            check_folder(config.out, self.folder_mode.overwrite, self.folder_mode.resume)
            self.check_out()
        self.method = validate_method(config)
        with error_location(config, "device"):
            device = resolve_device(config.device)
        with error_location(config, "compile"):
            if config.compile:
                check_compiler(device)
        data = load_request_data(config, data_dir)
        self.original = self.load_original(data.source, device)
        data = exclude_ledger_requests(config, data, self.original, self.checkpoint)
        self.source, holdout, self.request, self.positions, self.left_out = data
        self.check_data()
        with error_location(config, "model"):
            predict = self.task.make_predictor(self.original)
            self.split = validate_split(predict, *data.sides, holdout, count_classes=self.task.count_classes)
        self.budget_plan = prepare_budget(config, self.chosen_method, predict, self.split)

    def open_folder(self) -> RunFolder:
        """Return the run folder with the request, and the manifest of the split."""
        config, mode, key = self.config, self.folder_mode, load_or_create_key()
        folder = RunFolder(config.out, overwrite=mode.overwrite, resume=mode.resume)
        record = build_manifest(self.request, *self.positions, self.source.name, self.source.train, key)
        if mode.resume and all((folder.path / name).exists() for name in (CONFIG_FILE, MANIFEST_FILE)):
            check_same_config(folder.path / CONFIG_FILE, redact_config(config))
            check_same_data(folder.path / MANIFEST_FILE, record)
            check_code(folder, mode.force)
            return folder
        write_config(folder, redact_config(config), self.device)
        plan = self.budget_plan
        halves = {} if plan is None else {"holdout": build_split_manifest(plan.holdout_split, key)}
        folder.write_json(MANIFEST_FILE, {**record, **halves, **build_exclusion_record(self.left_out)})
        return folder

    @property
    def info(self) -> RequestInfo:
        """The request in the words of the report."""
        names = self.source.class_names
        return RequestInfo("request", f"Forget {self.request.describe(names)}", self.request.kind, names)

    @property
    def title(self) -> str:
        """What is asked, and the name of the data."""
        return f"{self.info.description} ({self.source.name})"

    def build_request_record(self, key: bytes) -> RequestRecord:
        """Return which examples are to be forgotten, in keyed hashes."""
        hashes, sizes = hash_examples(self.source.train, key), self.positions.map(len)
        forgotten = hash_forgotten(*self.positions.map(lambda part: Subset(self.source.train, part)), key)
        data = hmac_digest(key, "data", [combine_hashes(hashes, key).encode()])
        return RequestRecord(forgotten, data, cast(RequestKind, self.request.kind), sizes.forget, sizes.retain)

    def build_forgotten_hashes(self, key: bytes) -> ForgottenHashes:
        return build_forgotten_hashes(self.split.forget, self.split.retain, key)


def prepare_job(config: RequestFile, data_dir: Path | None, folder_mode: FolderMode, console: Console) -> Job[Any]:
    """Read everything that a request needs, and refuse what does not fit; nothing is written."""
    task = get_task(config.task)
    module, _, name = task.job.partition(":")
    job: Job[Any] = getattr(import_module(module), name)(config, task, folder_mode, console)
    job.read(data_dir)
    return job


def build_exclusion_record(left_out: Exclusions) -> dict[str, Any]:
    """Return what the manifest says of what earlier requests forgot: sizes, and numbers of the ledger's entries."""
    entries = [one.entry for one in left_out.earlier if one.entry is not None]
    return {"excluded": {**left_out.sizes, "entries": entries}} if left_out else {}


def build_method_kwargs(config: RequestFile, method: Method | None) -> dict[str, Any]:
    """Return the method as ``unlearn`` is told of it; None for ``auto``, which has to keep to what the request says."""
    if method is not None:
        return {"method": method}
    time_limit = getattr(config, "time_limit", None)
    time = {} if time_limit is None else {"time_limit": time_limit}
    return {"method": config.method.name, **config.method.settings, **time}


def redact_config(config: RequestFile) -> dict[str, Any]:
    """Return the request as plain values, without the path of an index file and without who asked."""
    plain = strip_requester(config.model_dump(mode="json", by_alias=True))
    for part in (plain["forget"], plain["exclude"] or {}):
        for key in ("indices", "ids"):
            if part.get(key):
                part[key] = f"a file of {key}"
    return plain


def strip_requester(plain: dict[str, Any]) -> dict[str, Any]:
    """Return a request as plain values with its title alone of what it says of itself; the ledger keeps the rest."""
    note = plain.pop("request", None)
    return plain if not note else {**plain, "request": {"title": note["title"]}}
