"""Everything that a request needs, read and checked before anything is trained or written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from expunge.api.budgeting import BudgetPlan, build_split_manifest, prepare_budget
from expunge.api.earlier_requests import NO_EXCLUSIONS, Exclusions, exclude_earlier
from expunge.api.folder import (
    CONFIG_FILE,
    MANIFEST_FILE,
    FolderMode,
    RunFolder,
    check_folder,
    check_same_config,
    check_same_data,
    check_writable,
)
from expunge.api.inputs import resolve_device
from expunge.api.loading import (
    error_location,
    exclude_ledger_requests,
    find_checkpoint_path,
    load_network,
    load_request_data,
    read_train_settings,
    validate_method,
)
from expunge.api.request.config import ClassificationConfig
from expunge.api.request.diffusion_config import DiffusionConfig
from expunge.api.request.request_file import DataRequest
from expunge.api.result import get_task
from expunge.api.resuming import check_code, write_config
from expunge.api.sanity import check_request_fit
from expunge.api.steering.budget_validation import drop_certify_half
from expunge.api.validation import validate_split
from expunge.batch import Examples, Predictor, Split
from expunge.data import ForgetRequest, LabeledDataset, build_manifest, load_or_create_key
from expunge.engine import ControlGroup
from expunge.engine.compiled import check_compiler
from expunge.methods import Method
from expunge.pair import Pair
from expunge.weights import check_savable


@dataclass
class Job:
    """A request whose every part is at hand.

    Args:
        config: The request file.
        source: The data.
        request: The forget request.
        positions: Positions in the training data that it forgets and retains.
        split: The same as examples.
        method: The method with its settings; None for ``auto``, which finds it in the run.
        original: The model; its weights may still have to be trained.
        checkpoint: The file that its weights come from; None while there is none.
        retrained: The retrained model, where the request names its weights.
        folder_mode: What may become of an earlier run in the folder.
        console: Where progress goes.
        budget_plan: The budget, where there is one.
        council: The processes that share its updates; None where this is the only one.
        left_out: What earlier requests forgot, and is left out of what the request retains, holds out and tests on.
    """

    config: ClassificationConfig
    source: LabeledDataset
    request: ForgetRequest
    positions: Pair[torch.Tensor]
    split: Split
    method: Method | None
    original: nn.Module
    checkpoint: Path | None
    retrained: nn.Module | None
    folder_mode: FolderMode
    console: Console
    budget_plan: BudgetPlan | None = None
    council: ControlGroup | None = None
    left_out: Exclusions = NO_EXCLUSIONS

    @property
    def training_examples(self) -> Examples:
        """The training examples without those that earlier requests forgot: what an original is trained on."""
        return exclude_earlier(self.source.train, self.left_out.earlier)

    @property
    def is_distributed(self) -> bool:
        """Whether other processes share its updates."""
        return self.council is not None

    @property
    def device(self) -> torch.device:
        """Where to compute."""
        return next(self.original.parameters()).device

    @property
    def must_train(self) -> bool:
        """Whether the original is still untrained."""
        return self.checkpoint is None and self.config.train is not None

    def get_unlearn_kwargs(self) -> dict[str, Any]:
        """Return the method as ``unlearn`` is told of it: with its settings, or what ``auto`` has to keep to."""
        return build_unlearn_kwargs(self.config, self.method, self.budget_plan)

    @cached_property
    def folder(self) -> RunFolder:
        """The run folder, opened by the first who writes: a request that ends before the first step leaves no trace."""
        more = (
            {}
            if self.budget_plan is None
            else {"holdout": build_split_manifest(self.budget_plan.holdout_split, load_or_create_key())}
        )
        more |= build_exclusion_record(self.left_out)
        return create_run_folder(
            self.config, self.folder_mode, self.request, self.positions, self.source, self.device, more
        )


def build_exclusion_record(left_out: Exclusions) -> dict[str, Any]:
    """Return what the manifest says of what earlier requests forgot: sizes, and numbers of the ledger's entries."""
    entries = [one.entry for one in left_out.earlier if one.entry is not None]
    return {"excluded": {**left_out.sizes, "entries": entries}} if left_out else {}


def build_unlearn_kwargs(
    config: ClassificationConfig | DiffusionConfig, method: Method | None, budget_plan: BudgetPlan | None
) -> dict[str, Any]:
    """Return the method as ``unlearn`` is told of it; None for ``auto``, which has to keep to what the request says."""
    common = {"seed": config.seed, "budget": None if budget_plan is None else budget_plan.budget_options.budget}
    if method is not None:
        return {**common, "method": method}
    time = {} if config.time_limit is None else {"time_limit": config.time_limit}
    return {**common, "method": config.method.name, **config.method.settings, **time}


def create_run_folder(
    config: DataRequest,
    folder_mode: FolderMode,
    request: ForgetRequest,
    positions: Pair[torch.Tensor],
    source: LabeledDataset,
    device: torch.device,
    extra: Mapping[str, Any] | None = None,
) -> RunFolder:
    """Return the run folder with what is known before the first step: the request, and the manifest of the split."""
    folder = RunFolder(config.out, overwrite=folder_mode.overwrite, resume=folder_mode.resume)
    record = build_manifest(request, *positions, source.name, source.train, load_or_create_key())
    if folder_mode.resume and all((folder.path / name).exists() for name in (CONFIG_FILE, MANIFEST_FILE)):
        check_same_config(folder.path / CONFIG_FILE, redact_config(config))
        check_same_data(folder.path / MANIFEST_FILE, record)
        check_code(folder, folder_mode.force)
        return folder
    write_config(folder, redact_config(config), device)
    folder.write_json(MANIFEST_FILE, {**record, **(extra or {})})
    return folder


def prepare(config: ClassificationConfig, data_dir: Path | None, folder_mode: FolderMode, console: Console) -> Job:
    """Read everything and refuse what does not fit; nothing is written.

    Raises:
        ExpungeError: With the line of the request file that is to blame.
    """
    with error_location(config, "out"):
        check_folder(config.out, folder_mode.overwrite, folder_mode.resume)
    if config.checkpoint is not None and not config.checkpoint.exists():
        with error_location(config, "checkpoint"):
            check_writable(config.checkpoint.parent)
    checked = validate_method(config)
    method = None if config.method.automatic else checked
    with error_location(config, "device"):
        device = resolve_device(config.device)
    with error_location(config, "compile"):
        if config.compile:
            check_compiler(device)
    parts = load_request_data(config, data_dir)
    source = parts.source
    if config.train is not None:
        read_train_settings(config)
    checkpoint = find_checkpoint_path(config, folder_mode.overwrite)
    original = load_network(
        config, source, device, checkpoint, "checkpoint", lambda told: console.print(told, soft_wrap=True)
    )
    parts = exclude_ledger_requests(config, parts, original, checkpoint)
    source, holdout, request, positions, left_out = parts
    with error_location(config, "model"):
        check_savable(original.state_dict())
        split = validate_split(Predictor(original), *parts.sides, holdout)
    budget = prepare_budget(config, method, Predictor(original), split)
    if checkpoint is not None:
        visible = drop_certify_half(split, None if budget is None else budget.holdout_split)
        check_request_fit(config, get_task(config.task), Predictor(original), visible, key="checkpoint")
    reference_path = config.retrained_model if isinstance(config.retrained_model, Path) else None
    reference = (
        None if reference_path is None else load_network(config, source, device, reference_path, "retrained_model")
    )
    fields = config, source, request, positions, split, method, original, checkpoint, reference
    return Job(*fields, folder_mode, console, budget, left_out=left_out)


def redact_config(config: DataRequest) -> dict[str, Any]:
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
