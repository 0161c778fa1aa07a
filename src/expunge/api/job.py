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

from expunge.api.admission import checked_split
from expunge.api.budgeting import Agreed, agreed, halves_record
from expunge.api.chain import NOTHING_LEFT_OUT, LeftOut, without
from expunge.api.folder import (
    CONFIG,
    MANIFEST,
    Opening,
    RunFolder,
    check_folder,
    check_writable,
    refuse_another,
    refuse_other_data,
)
from expunge.api.inputs import device_of
from expunge.api.reading import checked_method, given_weights, leave_out_chain, loaded, located, parted, train_settings
from expunge.api.request.config import RunConfig
from expunge.api.request.diffusion_config import DiffusionConfig
from expunge.api.request.request_file import DataRequest
from expunge.api.result import family_of
from expunge.api.resuming import check_code, write_config
from expunge.api.sanity import check_request_fit
from expunge.api.steering.wish import without_certify
from expunge.batch import Examples, Predictor, Split
from expunge.data import Request, Source, load_key, manifest
from expunge.engine import Council
from expunge.engine.compiled import refuse_without_compiler
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
        reference: The retrained model, where the request names its weights.
        opening: What may become of an earlier run in the folder.
        console: Where progress goes.
        agreed: The budget, where there is one.
        council: The processes that share its updates; None where this is the only one.
        left_out: What earlier requests forgot, and is left out of what the request retains, holds out and tests on.
    """

    config: RunConfig
    source: Source
    request: Request
    positions: Pair[torch.Tensor]
    split: Split
    method: Method | None
    original: nn.Module
    checkpoint: Path | None
    reference: nn.Module | None
    opening: Opening
    console: Console
    agreed: Agreed | None = None
    council: Council | None = None
    left_out: LeftOut = NOTHING_LEFT_OUT

    @property
    def learned(self) -> Examples:
        """The training examples without those that earlier requests forgot: what an original is trained on."""
        return without(self.source.train, self.left_out.earlier)

    @property
    def shared(self) -> bool:
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

    def asked(self) -> dict[str, Any]:
        """Return the method as ``unlearn`` is told of it: with its settings, or what ``auto`` has to keep to."""
        return as_asked(self.config, self.method)

    @cached_property
    def folder(self) -> RunFolder:
        """The run folder, opened by the first who writes: a request that ends before the first step leaves no trace."""
        more = {} if self.agreed is None else {"holdout": halves_record(self.agreed.halves, load_key())}
        more |= left_out_record(self.left_out)
        return opened_folder(self.config, self.opening, self.request, self.positions, self.source, self.device, more)


def left_out_record(left_out: LeftOut) -> dict[str, Any]:
    """Return what the manifest says of what earlier requests forgot: sizes, and numbers of the ledger's entries."""
    entries = [one.entry for one in left_out.earlier if one.entry is not None]
    return {"excluded": {**left_out.sizes, "entries": entries}} if left_out else {}


def as_asked(config: RunConfig | DiffusionConfig, method: Method | None) -> dict[str, Any]:
    """Return the method as ``unlearn`` is told of it; None for ``auto``, which has to keep to what the request says."""
    if method is not None:
        return {"method": method}
    time = {} if config.within is None else {"within": config.within}
    return {"method": config.method.name, **config.method.settings, **time}


def opened_folder(
    config: DataRequest,
    opening: Opening,
    request: Request,
    positions: Pair[torch.Tensor],
    source: Source,
    device: torch.device,
    more: Mapping[str, Any] | None = None,
) -> RunFolder:
    """Return the run folder with what is known before the first step: the request, and the manifest of the split."""
    folder = RunFolder(config.out, overwrite=opening.overwrite, resume=opening.resume)
    record = manifest(request, *positions, source.name, source.train, load_key())
    if opening.resume and all((folder.path / name).exists() for name in (CONFIG, MANIFEST)):
        refuse_another(folder.path / CONFIG, told(config))
        refuse_other_data(folder.path / MANIFEST, record)
        check_code(folder, opening.force)
        return folder
    write_config(folder, told(config), device)
    folder.write_json(MANIFEST, {**record, **(more or {})})
    return folder


def prepare(config: RunConfig, data_dir: Path | None, opening: Opening, console: Console) -> Job:
    """Read everything and refuse what does not fit; nothing is written.

    Raises:
        ExpungeError: With the line of the request file that is to blame.
    """
    with located(config, "out"):
        check_folder(config.out, opening.overwrite, opening.resume)
    if config.checkpoint is not None and not config.checkpoint.exists():
        with located(config, "checkpoint"):
            check_writable(config.checkpoint.parent)
    checked = checked_method(config)
    method = None if config.method.automatic else checked
    with located(config, "device"):
        device = device_of(config.device)
    with located(config, "compile"):
        if config.compile:
            refuse_without_compiler(device)
    parts = parted(config, data_dir)
    source = parts.source
    if config.train is not None:
        train_settings(config)
    checkpoint = given_weights(config, opening.overwrite)
    original = loaded(
        config, source, device, checkpoint, "checkpoint", lambda told: console.print(told, soft_wrap=True)
    )
    parts = leave_out_chain(config, parts, original, checkpoint)
    source, holdout, request, positions, left_out = parts
    with located(config, "model"):
        check_savable(original.state_dict())
        split = checked_split(Predictor(original), *parts.sides, holdout)
    budget = agreed(config, method, Predictor(original), split)
    if checkpoint is not None:
        seen = without_certify(split, None if budget is None else budget.halves)
        check_request_fit(config, family_of(config.task), Predictor(original), seen, place="checkpoint")
    wanted = config.reference if isinstance(config.reference, Path) else None
    reference = None if wanted is None else loaded(config, source, device, wanted, "reference")
    given = config, source, request, positions, split, method, original, checkpoint, reference
    return Job(*given, opening, console, budget, left_out=left_out)


def told(config: DataRequest) -> dict[str, Any]:
    """Return the request as plain values, without the path of an index file and without who asked."""
    plain = without_requester(config.model_dump(mode="json", by_alias=True))
    for part in (plain["forget"], plain["exclude"] or {}):
        for key in ("indices", "ids"):
            if part.get(key):
                part[key] = f"a file of {key}"
    return plain


def without_requester(plain: dict[str, Any]) -> dict[str, Any]:
    """Return a request as plain values with its title alone of what it says of itself; the ledger keeps the rest."""
    note = plain.pop("request", None)
    return plain if not note else {**plain, "request": {"title": note["title"]}}
