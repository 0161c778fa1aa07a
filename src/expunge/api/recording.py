"""A run and the ledger: recognise a request that was served before, and record one that was."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from expunge.api.budgeting import compared, with_opened
from expunge.api.chain import concepts_forgotten, forgotten_hash, forgotten_of
from expunge.api.digests import file_digest, keyed, state_digest, tensors_digest, weights_digest
from expunge.api.folder import (
    CONFIG,
    FINISHED,
    GRID,
    HISTORY,
    MANIFEST,
    ORIGINAL,
    REPORT,
    RETRAINED,
    UNLEARNED,
    check_name_room,
    check_writable,
)
from expunge.api.notes import note_digests
from expunge.api.reading import located
from expunge.api.request.config import AnyConfig, RunConfig, StableDiffusionConfig
from expunge.api.request.request_file import UNLEARNED_FOLDER
from expunge.data import Subset, example_hashes, set_hash
from expunge.errors import CheckpointError, DataError, RequestError
from expunge.files import is_plain, is_plain_folder
from expunge.key import load_key
from expunge.ledger import (
    Asked,
    Content,
    Entry,
    Forgotten,
    Ledger,
    Models,
    Spent,
    not_served,
    refuse_served,
    served,
)
from expunge.ledger.entry import RequestKind
from expunge.weights import load_into, load_weights

if TYPE_CHECKING:
    from expunge.api.generative.diffusion_job import DiffusionJob
    from expunge.api.generative.stable_diffusion_run import StableDiffusionJob
    from expunge.api.job import Job
    from expunge.api.result import Result

    AnyJob = Job | DiffusionJob | StableDiffusionJob

EVIDENCE = (CONFIG, MANIFEST, HISTORY, FINISHED, REPORT, GRID, UNLEARNED, RETRAINED, ORIGINAL)
"""Files of a run folder whose hashes go into the ledger, those of them that are there."""


class Recording:
    """The ledger's side of one run.

    Args:
        job: The run, read and checked.
        again: Whether a request that was served before is to be answered once more.
        done: Whether this run has answered it already.

    Raises:
        RequestError: If it was, and is not to be.
    """

    def __init__(self, job: AnyJob, again: bool, done: bool) -> None:
        self.job, self.key, self.again = job, load_key(), again
        self.ledger = Ledger(cast(Path, job.config.ledger))
        self.asked = asked_of(job, self.key)
        self.forgotten = forgotten_by(job, self.key)
        self.original = None if must_train(job) else original_digest(job, self.key)
        entries = self.ledger.entries()
        self.seen = 0 if done else len(entries)
        if not (again or done) and self.original is not None:
            models = {self.original, state_of_original(job, self.key) or self.original}
            refuse_served(served(entries, self.asked, *models))

    @property
    def closed(self) -> bool:
        """Whether the ledger has an entry of the run in the folder."""
        return entry_of_run(self.ledger.entries(), self.job.folder.path, self.key) is not None

    def close(self, result: Mapping[str, Any]) -> Entry:
        """Add the finished run to the ledger.

        Args:
            result: The result document.

        Raises:
            DataError: If that fails; the run folder is finished nevertheless.
            RequestError: If another run has answered the request meanwhile; this one's folder is finished too.
        """
        job, folder = self.job, self.job.folder.path
        answer = folder / (UNLEARNED if isinstance(job.config, RunConfig) else "unlearned")
        before = self.original or original_digest(job, self.key)
        evidence, said = evidence_of(folder, self.key), job.config.request
        note = {} if said is None else note_digests(said.model_dump(exclude_none=True), self.key)
        content = Content(self.asked, job.config.method.name, evidence, self.forgotten, note)
        models = Models(before, weights_digest(answer, self.key))
        named: dict[str, Any] = {"models": models, "states": states_of(job, answer, self.key)}
        add = partial(self.ledger.append, "request", content, key=self.key, **named, spent=self.spent(result))
        try:
            return add() if self.again else add(admit=not_served(self.asked, before, since=self.seen))
        except (DataError, RequestError) as error:
            found = f"{error.found}; the run in '{folder}' is finished, but the ledger has no entry of it"
            cure = "remove its folder, or pass --again --resume to record it as a second answer"
            if isinstance(error, DataError):
                cure = f"{error.cure}; then pass --resume, which adds the entry"
            raise type(error)(error.expected, found, cure) from error

    def spent(self, result: Mapping[str, Any]) -> Spent | None:
        """Return what the run spent, with the held-out examples that were opened for it."""
        spent, agreed = spent_of(result), getattr(self.job, "agreed", None)
        if spent is None or agreed is None:
            return spent
        return with_opened(spent, agreed.halves, self.ledger.entries(), self.key)


def compare_budget(job: Job | DiffusionJob, result: Result) -> None:
    """Note in a result which entries of the job's ledger opened the same held-out examples before."""
    if job.config.ledger is not None and job.agreed is not None and result.budget is not None:
        result.budget = compared(result.budget, job.agreed.halves, Ledger(job.config.ledger), load_key())


def recording(job: AnyJob, again: bool, done: bool = False) -> Recording | None:
    """Return the ledger's side of a run; None if the request names no ledger."""
    return None if job.config.ledger is None else Recording(job, again, done)


def check_ledger(config: AnyConfig) -> None:
    """Refuse a ledger that the run could not be added to in the end; nothing is written.

    Raises:
        ExpungeError: If its chain does not hold, it is no ledger, or of another key.
    """
    path = config.ledger
    if path is None:
        return
    with located(config, "ledger"):
        check_writable(path.parent)
        check_name_room(path)
        Ledger(path).check(load_key())


def asked_of(job: AnyJob, key: bytes) -> Asked:
    """Return what a job is to forget, in keyed hashes."""
    if isinstance(job.config, StableDiffusionConfig):
        return asked_in_words(job.config, key)
    lost, kept = job.positions.forget, job.positions.retain
    hashes = example_hashes(job.source.train, key)
    forgotten = forgotten_hash(*job.positions.map(lambda part: Subset(job.source.train, part)), key)
    data = keyed(key, "data", [set_hash(hashes, key).encode()])
    return Asked(forgotten, data, cast(RequestKind, job.request.kind), len(lost), len(kept))


def asked_in_words(config: StableDiffusionConfig, key: bytes) -> Asked:
    """Return which concepts are to be forgotten, in keyed hashes; the sizes are numbers of concepts and prompts."""
    concepts = sorted(choice.model_dump_json().encode() for choice in config.forget)
    kept = sorted(prompt.encode() for prompt in config.keep)
    forgotten, data = keyed(key, "concepts", concepts), keyed(key, "kept prompts", kept)
    return Asked(forgotten, data, "concept", len(concepts), len(kept))


def forgotten_by(job: AnyJob, key: bytes) -> Forgotten:
    """Return what a job is to forget, one by one, in keyed hashes."""
    if isinstance(job.config, StableDiffusionConfig):
        texts = [text for concept in job.concepts for text in (concept.name, *concept.prompts)]
        return concepts_forgotten(texts, key)
    return forgotten_of(job.split.forget, job.split.retain, key)


def state_of_original(job: AnyJob, key: bytes) -> str | None:
    """Return the keyed hash of the original in memory; None for a text-to-image model, which is known by its files."""
    return None if isinstance(job.config, StableDiffusionConfig) else state_digest(cast(Any, job.original), key)


def states_of(job: AnyJob, answer: Path, key: bytes) -> Models | None:
    """Return the keyed hashes of both models in memory, by which a later call knows what comes from a file."""
    before = state_of_original(job, key)
    if before is None:
        return None
    if isinstance(job.config, RunConfig):
        model = copy.deepcopy(job.original)
        load_into(model, answer)
    else:
        from expunge.tasks.diffusion.ddpm import DDPM

        model = DDPM.from_pretrained(answer)
    return Models(before, state_digest(model, key))


def must_train(job: AnyJob) -> bool:
    """Return whether the run trains the original itself: a model that nothing was asked of before."""
    return bool(getattr(job, "must_train", False))


def original_digest(job: AnyJob, key: bytes) -> str:
    """Return the keyed hash of the original: of its file or folder where it has one, else of its state."""
    path = original_path(job)
    return state_digest(cast(Any, job.original), key) if path is None else weights_digest(path, key)


def original_path(job: AnyJob) -> Path | None:
    """Return where the original's weights are, once they are there; None for a model from Python or the hub."""
    config = job.config
    if not isinstance(config, RunConfig):
        return Path(config.model) if Path(config.model).is_dir() else None
    if must_train(job):
        return config.checkpoint or config.out / ORIGINAL
    return cast("Job", job).checkpoint


def entry_of_run(entries: Sequence[Entry], folder: Path, key: bytes) -> Entry | None:
    """Return the latest entry about the run in a folder; None if there is none.

    It has the same request and manifest as the folder or, where its content was redacted or it is of a call, the same
    unlearned weights.
    """
    found = {name: text for name, text in evidence_of(folder, key).items() if name in (MANIFEST, CONFIG)}

    @cache  # weights are read only where an entry needs them
    def answers() -> set[str]:
        return {digest for path in answers_in(folder) for digest in digests_of_answer(path, key)}

    for entry in reversed(entries):
        models, content = entry.header.models, entry.content
        if models is None:
            continue
        evidence = {} if content is None else content.evidence
        told = {name: evidence.get(name) for name in found}
        if (not evidence and models.unlearned in answers()) or (found and told == found):
            return entry
    return None


def digests_of_answer(path: Path, key: bytes) -> list[str]:
    """Return the keyed hashes by which a ledger may know unlearned weights: of the file or folder, and of the state."""
    found = [weights_digest(path, key)]
    if not path.is_dir():
        with suppress(CheckpointError):  # what is damaged answers nothing
            found.append(tensors_digest(load_weights(path), key))
    return found


def answers_in(folder: Path) -> list[Path]:
    """Return the unlearned weights in a run folder, a file or a folder."""
    file, model = folder / UNLEARNED, folder / UNLEARNED_FOLDER
    return [*([file] if is_plain(file) else []), *([model] if is_plain_folder(model) else [])]


def evidence_of(folder: Path, key: bytes) -> dict[str, str]:
    """Return the keyed hashes of what a run left as evidence."""
    return {name: file_digest(folder / name, key) for name in EVIDENCE if is_plain(folder / name)}


def spent_of(result: Mapping[str, Any]) -> Spent | None:
    """Return what a run spent of a utility budget, as its result document tells it.

    A request's part that has a mapping ``spent`` states it, with the fields of ``Spent``. Else it is the measured drop
    of the test accuracy, in points; nothing where there is no such figure.
    """
    part = result["requests"][0]
    if part.get("spent") is not None:
        return Spent(**part["spent"])
    figures = {row["role"]: ((row.get("scores") or {}).get("ta") or {}).get("mean") for row in part["rows"]}
    before, after = figures.get("original"), figures.get("method")
    if before is None or after is None:
        return None
    return Spent("points", drop=before - after, examples=part["sizes"]["test"])
