"""A run and the ledger: recognize a request that was served before, and record one that was."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from expunge.api.budgeting import add_opened_hashes, mark_reopened
from expunge.api.digests import file_digest, state_digest, tensors_digest, weights_digest
from expunge.api.folder import (
    CONFIG_FILE,
    GRID_FILE,
    HISTORY_FILE,
    MANIFEST_FILE,
    ORIGINAL_FILE,
    REPORT_FILE,
    RESULT_FILE,
    RETRAINED_FILE,
    UNLEARNED_FILE,
    check_name_length,
    check_writable,
)
from expunge.api.job import Job
from expunge.api.loading import error_location
from expunge.api.notes import note_digests
from expunge.errors import CheckpointError, DataError, RequestError
from expunge.files import is_real_folder, is_regular_file
from expunge.key import load_or_create_key
from expunge.ledger import (
    BudgetRecord,
    Content,
    Ledger,
    LedgerEntry,
    ModelHashes,
    check_not_served,
    find_served,
    make_not_served_check,
)
from expunge.request.request_file import UNLEARNED_FOLDER, RequestFile
from expunge.weights import load_weights

if TYPE_CHECKING:
    from expunge.api.result import Result

EVIDENCE_FILES = (
    CONFIG_FILE,
    MANIFEST_FILE,
    HISTORY_FILE,
    RESULT_FILE,
    REPORT_FILE,
    GRID_FILE,
    UNLEARNED_FILE,
    RETRAINED_FILE,
    ORIGINAL_FILE,
)
"""Files of a run folder whose hashes go into the ledger, those of them that are there."""


class LedgerRecorder:
    """The ledger's side of one run.

    Args:
        job: The run, read and checked.
        force: Whether a request that was served before is to be answered once more.
        done: Whether this run has answered it already.

    Raises:
        RequestError: If it was, and is not to be.
    """

    def __init__(self, job: Job[Any], force: bool, done: bool) -> None:
        self.job, self.key, self.force = job, load_or_create_key(), force
        self.ledger = Ledger(cast(Path, job.config.ledger))
        self.request_record = job.build_request_record(self.key)
        self.forgotten = job.build_forgotten_hashes(self.key)
        self.original = None if job.must_train else original_digest(job, self.key)
        entries = self.ledger.entries()
        self.num_seen_entries = 0 if done else len(entries)
        if not (force or done) and self.original is not None:
            models = {self.original, job.hash_state(job.original, self.key) or self.original}
            check_not_served(find_served(entries, self.request_record, *models))

    @property
    def is_recorded(self) -> bool:
        """Whether the ledger has an entry of the run in the folder."""
        return find_entry_of_run(self.ledger.entries(), self.job.folder.path, self.key) is not None

    def append_entry(self, result: Mapping[str, Any]) -> LedgerEntry:
        """Add the finished run to the ledger."""
        job, folder = self.job, self.job.folder.path
        before = self.original or original_digest(job, self.key)
        evidence, note_config = hash_evidence(folder, self.key), job.config.request
        note = {} if note_config is None else note_digests(note_config.model_dump(exclude_none=True), self.key)
        content = Content(self.request_record, job.config.method.name, evidence, self.forgotten, note)
        models = ModelHashes(before, weights_digest(job.answer, self.key))
        named: dict[str, Any] = {"models": models, "states": hash_states(job, self.key)}
        add = partial(self.ledger.append, "request", content, key=self.key, **named, spent=self.compute_spent(result))
        try:
            return (
                add()
                if self.force
                else add(precheck=make_not_served_check(self.request_record, before, num_seen=self.num_seen_entries))
            )
        except (DataError, RequestError) as error:
            actual = f"{error.actual}; the run in '{folder}' is finished, but the ledger has no entry of it"
            hint = "remove its folder, or pass --force --resume to record it as a second answer"
            if isinstance(error, DataError):
                hint = f"{error.hint}; then pass --resume, which adds the entry"
            raise type(error)(error.expected, actual, hint) from error

    def compute_spent(self, result: Mapping[str, Any]) -> BudgetRecord | None:
        """Return what the run spent, with the held-out examples that were opened for it."""
        spent, plan = read_budget_record(result), self.job.budget_plan
        if spent is None or plan is None:
            return spent
        return add_opened_hashes(spent, plan.holdout_split, self.ledger.entries(), self.key)


def compare_budget(job: Job[Any], result: Result) -> None:
    """Note in a result which entries of the job's ledger opened the same held-out examples before."""
    if job.config.ledger is not None and job.budget_plan is not None and result.budget is not None:
        result.budget = mark_reopened(
            result.budget, job.budget_plan.holdout_split, Ledger(job.config.ledger), load_or_create_key()
        )


def create_recorder(job: Job[Any], force: bool, done: bool = False) -> LedgerRecorder | None:
    """Return the ledger's side of a run; None if the request names no ledger."""
    return None if job.config.ledger is None else LedgerRecorder(job, force, done)


def check_ledger(config: RequestFile) -> None:
    """Refuse a ledger that the run could not be added to in the end; nothing is written."""
    path = config.ledger
    if path is None:
        return
    with error_location(config, "ledger"):
        check_writable(path.parent)
        check_name_length(path)
        Ledger(path).check_writable(load_or_create_key())


def original_digest(job: Job[Any], key: bytes) -> str:
    """Return the keyed hash of the original: of its file or folder where it has one, else of its state."""
    return state_digest(job.original, key) if job.weights is None else weights_digest(job.weights, key)


def hash_states(job: Job[Any], key: bytes) -> ModelHashes | None:
    """Return the keyed hashes of both models in memory, by which a later call knows what comes from a file."""
    before = job.hash_state(job.original, key)
    if before is None:
        return None
    return ModelHashes(before, state_digest(job.task.reload(copy.deepcopy(job.original), job.answer), key))


def find_entry_of_run(entries: Sequence[LedgerEntry], folder: Path, key: bytes) -> LedgerEntry | None:
    """Return the latest entry about the run in a folder; None if there is none.

    It has the same request and manifest as the folder or, where its content was redacted or it is of a call, the same
    unlearned weights.
    """
    expected = {name: text for name, text in hash_evidence(folder, key).items() if name in (MANIFEST_FILE, CONFIG_FILE)}

    @cache  # weights are read only where an entry needs them
    def answers() -> set[str]:
        return {digest for path in find_unlearned_weights(folder) for digest in hash_unlearned(path, key)}

    for entry in reversed(entries):
        models, content = entry.header.models, entry.content
        if models is None:
            continue
        evidence = {} if content is None else content.evidence
        recorded = {name: evidence.get(name) for name in expected}
        if (not evidence and models.unlearned in answers()) or (expected and recorded == expected):
            return entry
    return None


def hash_unlearned(path: Path, key: bytes) -> list[str]:
    """Return the keyed hashes by which a ledger may know unlearned weights: of the file or folder, and of the state."""
    digests = [weights_digest(path, key)]
    if not path.is_dir():
        with suppress(CheckpointError):  # what is damaged answers nothing
            digests.append(tensors_digest(load_weights(path), key))
    return digests


def find_unlearned_weights(folder: Path) -> list[Path]:
    file, model = folder / UNLEARNED_FILE, folder / UNLEARNED_FOLDER
    return [*([file] if is_regular_file(file) else []), *([model] if is_real_folder(model) else [])]


def hash_evidence(folder: Path, key: bytes) -> dict[str, str]:
    return {name: file_digest(folder / name, key) for name in EVIDENCE_FILES if is_regular_file(folder / name)}


def read_budget_record(result: Mapping[str, Any]) -> BudgetRecord | None:
    """Return what a run spent of a utility budget, as its result document tells it.

    A request's part that has a mapping ``spent`` states it, with the fields of ``Spent``. Else it is the measured drop
    of the test accuracy, in points; nothing where there is no such figure.
    """
    part = result["requests"][0]
    if part.get("spent") is not None:
        return BudgetRecord(**part["spent"])
    figures = {row["role"]: ((row.get("scores") or {}).get("ta") or {}).get("mean") for row in part["rows"]}
    before, after = figures.get("original"), figures.get("method")
    if before is None or after is None:
        return None
    return BudgetRecord("points", drop=before - after, examples=part["sizes"]["test"])
