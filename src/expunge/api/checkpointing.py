"""Resuming: a run that is stopped and resumed is one run, and another run is not taken for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from expunge.api.digests import hmac_digest, state_digest
from expunge.api.folder import CHECKPOINTS_FOLDER
from expunge.api.model_comparison import serialize_method
from expunge.api.steering.budget_validation import BudgetOptions
from expunge.batch import Examples, Split
from expunge.code_hashes import code_version, hash_user_sources
from expunge.data import get_root_indices, hash_examples
from expunge.engine import (
    CODE_KEY,
    CheckpointManager,
    DistributedCheckpointManager,
    Interrupted,
    SaveInterval,
    Stateful,
)
from expunge.key import load_or_create_key
from expunge.methods import Method
from expunge.request.request_file import RequestFile
from expunge.weights import folder_lock


def create_checkpoint_manager(config: RequestFile, force: bool = False) -> CheckpointManager:
    """Return where a run saves its state, as often as its request says."""
    return CheckpointManager(
        config.out / CHECKPOINTS_FOLDER, SaveInterval(**config.checkpoint_every.model_dump()), force=force
    )


@contextmanager
def checkpoint_session(
    resume: Path | str | CheckpointManager | None, distributed: bool = False
) -> Iterator[CheckpointManager | None]:
    """Lend the checkpoints of a folder, which no other process may use meanwhile; None without a folder."""
    checkpoints = CheckpointManager(Path(resume)) if isinstance(resume, Path | str) else resume
    if checkpoints is None:
        yield None
    elif distributed:
        yield from open_distributed_checkpoints(checkpoints)
    else:
        with folder_lock(checkpoints.folder):
            yield checkpoints


def open_distributed_checkpoints(checkpoints: CheckpointManager) -> Iterator[CheckpointManager]:
    """Lend this rank's own checkpoints below a folder.

    A signal waits until all ranks have agreed to end: where one ended by itself, the others would wait for it in vain.
    """
    rank_checkpoints = DistributedCheckpointManager(
        checkpoints.folder, checkpoints.interval, checkpoints.signals, force=checkpoints.force
    )
    with rank_checkpoints.signals.defer(), ExitStack() as contexts:
        contexts.callback(rank_checkpoints.control_group.destroy)
        rank_checkpoints.run_on_all_ranks(lambda: contexts.enter_context(folder_lock(rank_checkpoints.folder)))
        yield rank_checkpoints
        rank_checkpoints.is_due()
    if rank_checkpoints.pending_signal is not None:
        raise Interrupted(rank_checkpoints.pending_signal)


def restore_checkpoint(checkpoints: CheckpointManager | None, about: Callable[[], Mapping[str, Any]]) -> float:
    """Read what the same run has saved, and return the seconds that it took."""
    if checkpoints is None:
        return 0.0
    checkpoints.open(about())
    return checkpoints.previous_seconds


def register_state(checkpoints: CheckpointManager | None, **parts: Stateful | None) -> None:
    """Save these parts from now on, and give them their states."""
    for name, part in parts.items():
        if checkpoints is not None and part is not None:
            checkpoints.register(name, part)


def fingerprint_run(
    model: nn.Module, method: Method, split: Split, conditions: dict[str, Any], budget_options: BudgetOptions | None
) -> Any:
    """Return what a run is about, as plain values and keyed hashes: who goes on with it has to ask for the same."""
    key = load_or_create_key()
    sides = (split.forget, split.retain, split.holdout)
    # The order counts: batches are drawn by it.
    examples = [part for side in sides if side is not None for part in serialize_side(side, key)]
    return {
        "method": to_json(serialize_method(method)),
        "conditions": to_json(conditions),
        "budget": None if budget_options is None else to_json([asdict(budget_options.budget), budget_options.priority]),
        "examples": hmac_digest(key, "examples", examples),
        "model": state_digest(model, key),
        CODE_KEY: {**code_version(), **hash_user_sources(method, model)},
    }


def serialize_side(examples: Examples, key: bytes) -> tuple[bytes, bytes]:
    """Return where the examples of a side stand in their data set, and what they hold, in their order."""
    return get_root_indices(examples).numpy().astype("<i8").tobytes(), hash_examples(examples, key).tobytes()


def to_json(value: Any) -> str:
    """Return settings as text that is the same in every process; of an object that JSON cannot hold, its type."""
    return json.dumps(value, sort_keys=True, default=lambda thing: type(thing).__name__)
