"""Answer the request in a file: read, check, unlearn, measure, report."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from torch import nn

from expunge.api.budgeting import handed_back
from expunge.api.chain import NOTHING_LEFT_OUT
from expunge.api.folder import (
    CONFIG,
    FINISHED,
    GRID,
    HISTORY,
    ORIGINAL,
    REPORT,
    RETRAINED,
    SAVEPOINTS,
    UNLEARNED,
    Opening,
)
from expunge.api.inputs import fresh_model
from expunge.api.job import Job, prepare
from expunge.api.last_good import last_good_kept
from expunge.api.launched import assist, gather, helping, jointly, launched, processes
from expunge.api.own_names import check_paths
from expunge.api.progress import bar
from expunge.api.recording import Recording, check_ledger, compare_budget, recording
from expunge.api.relapse import find_correct_predictions, relapse_part
from expunge.api.request.config import AnyConfig, DiffusionConfig, StableDiffusionConfig
from expunge.api.result import Result, family_of
from expunge.api.rows import Rows
from expunge.api.sanity import check_request_fit, told_later
from expunge.api.seal import check_seal, sealed
from expunge.api.sitting import savepoints_of
from expunge.api.steering.wish import without_certify
from expunge.api.telling import told_in_full
from expunge.api.threads import computing
from expunge.api.tracking import figures_of, tracks_of
from expunge.api.training import trained
from expunge.api.unlearning import unlearn
from expunge.batch import Predictor
from expunge.data import kept_on, remembered_hashes
from expunge.engine import PROCESS, Meter, Row, Stopped, take_over
from expunge.errors import ConfigError
from expunge.kinds import kinds_checked
from expunge.report import print_tables, write_report
from expunge.trackers import Tracks
from expunge.weights import in_form_of, load_fitting, load_into, locked, plain_state, read_metadata, save_weights

if TYPE_CHECKING:
    from expunge.api.recording import AnyJob

IN_USE = "wait for it to end, or choose another folder with out (--out)"
SECONDS = "seconds"
"""In the header of the reference's file: what its training took."""
REFERENCE_SEED = 10_000
"""Added to the seed of the run, so that the reference starts from weights of its own."""


@kinds_checked
def run_request(
    config: AnyConfig,
    *,
    data_dir: Path | None = None,
    overwrite: bool = False,
    show_examples: bool = False,
    again: bool = False,
    resume: bool = False,
    force: bool = False,
    console: Console | None = None,
) -> Path:
    """Answer a request and return its run folder.

    The folder holds ``manifest.json``, ``config.json``, ``history.jsonl``, ``unlearned.safetensors``, ``report.html``
    and ``result.json``; the original's and the retrained model's weights too, where this run trained them. Of a
    diffusion model it holds the folder ``unlearned`` in place of the weights, and ``grid.png``.

    Args:
        config: The request, from ``load_request``.
        data_dir: Folder of the data. Default: the variable ``EXPUNGE_DATA``.
        overwrite: Replace an earlier run. Default false.
        show_examples: Put pictures of forgotten examples into the report, whatever the request says. Default false.
        again: Answer a request once more that the ledger shows to have been served. Default false.
        resume: Go on with a run that was stopped or killed, to the same bits; begin where there is none, and leave one
            that is finished as it is. Default false.
        force: With ``resume``, go on although another version of this package, or other sources of it or of your own
            method, began the run. Default false.
        console: Where progress and tables go. Default: nowhere.

    Raises:
        ExpungeError: If something does not fit; before the first step, with the folder as it was.
        RequestError: If the request names a ledger, and that has an entry which answered it for this model.
        NotFiniteError: If the model diverges; what was done until then is in the folder.
        Stopped: After SIGTERM or the interrupt key, once the state is saved.
    """
    console, opening = console or Console(quiet=True), Opening(overwrite, resume, force)
    if overwrite and resume:
        raise ConfigError("--overwrite or --resume", "both", "go on with the run in the folder, or replace it")
    check_paths(config, data_dir)
    check_ledger(config)
    with stoppable(config), computing(config), launched(config) as council, ExitStack() as held:
        held.enter_context(remembered_hashes())
        if council is not None and council.rank:
            assist(config, data_dir, council)
            return config.out
        with jointly(council):
            job = prepared(config, data_dir, opening, console)
            done = resume and (config.out / FINISHED).exists()
            record = recording(job, again, done)
            held.enter_context(locked(config.out, IN_USE))
        if council is not None and isinstance(job, Job):
            gather(job, council, done)
        if done:
            return finished(job, record, console)
        names = getattr(getattr(job, "source", None), "class_names", ())
        for sentence in getattr(job, "left_out", NOTHING_LEFT_OUT).sentences(names):
            console.print(sentence, soft_wrap=True)
        with tracks_of(config) as tracks:
            made, result = answered(job, show_examples, tracks)
            tracks.note(figures_of(result))
        show(job, made, result, console)
        if record is not None:
            close(record, result, console)
    return config.out


def show(job: AnyJob, made: Mapping[str, str], result: dict[str, Any], console: Console) -> None:
    """Write report and result, which marks the run as finished, and print what there is to see."""
    folder = job.folder
    report = write_report(result, folder.path / REPORT)
    folder.write_json(FINISHED, sealed(result, folder.path))
    folder.forget_savepoints()
    print_tables(result, console)
    for what, path in {**{what: folder.path / name for what, name in made.items()}, "Report:": report}.items():
        console.print(f"{what:<8} {from_here(path)}", soft_wrap=True)


@contextmanager
def stoppable(config: AnyConfig) -> Iterator[None]:
    """End the body between two updates after SIGTERM or the interrupt key, and say how to go on."""
    try:
        with PROCESS.listening():
            yield
    except Stopped as stopped:
        if helping():
            raise Stopped(stopped.signal, f"Process {os.environ['RANK']} stopped.") from None
        if not (config.out / CONFIG).exists():
            raise Stopped(stopped.signal, "Stopped before anything was done.") from None
        command = f"`expunge run {config.where() or 'REQUEST.yaml'} --resume`"
        command += f" on {processes()} processes" if processes() > 1 else ""
        told = f"Stopped; what was done is saved in '{from_here(config.out)}', and {command} goes on from there."
        raise Stopped(stopped.signal, told) from None


def finished(job: AnyJob, record: Recording | None, console: Console) -> Path:
    """Do for a run that is finished what a kill right after that may have left undone.

    Raises:
        DataError: If its files are not those that it wrote; nothing is written then.
    """
    result = check_seal(job.config.out)
    job.folder.forget_savepoints()
    console.print(f"The run in '{from_here(job.config.out)}' is finished.", soft_wrap=True)
    if record is not None and not record.closed:
        close(record, result, console)
    return job.folder.path


def close(record: Recording, result: dict[str, Any], console: Console) -> None:
    """Add a finished run to the ledger, if it has answered the request, and say so."""
    if handed_back(result):
        console.print("Ledger:  no entry, because the model is handed back as it came", soft_wrap=True)
        return
    entry = record.close(result)
    console.print(f"Ledger:  entry {entry.number} in {from_here(record.ledger.path)}", soft_wrap=True)
    console.print(f"Head:    {entry.hash}", soft_wrap=True)


def prepared(config: AnyConfig, data_dir: Path | None, opening: Opening, console: Console) -> AnyJob:
    """Read everything that a request needs, and refuse what does not fit; nothing is written."""
    if isinstance(config, DiffusionConfig):
        from expunge.api.generative import diffusion_job

        return diffusion_job.prepare(config, data_dir, opening, console)
    if isinstance(config, StableDiffusionConfig):
        from expunge.api.generative.stable_diffusion_run import StableDiffusionJob

        return StableDiffusionJob(config, opening, console)
    return prepare(config, data_dir, opening, console)


def answered(job: AnyJob, show_examples: bool, tracks: Tracks) -> tuple[dict[str, str], dict[str, Any]]:
    """Answer a request; return what was made in its folder, and the result document."""
    if isinstance(job, Job):
        with kept_on(job.device, job.source.train, job.source.test):
            return {"Weights:": UNLEARNED}, answer(job, show_examples or job.config.show_examples, tracks)
    made = {"Model:": "unlearned", "Grid:": GRID}
    if isinstance(job.config, StableDiffusionConfig):
        return made, job.answer(tracks)
    from expunge.api.generative import diffusion_run

    return made, diffusion_run.answer(job, tracks)


def from_here(path: Path) -> str:
    """Return a path as it reads from the current folder, if it is below it."""
    return os.path.relpath(path) if path.resolve().is_relative_to(Path.cwd()) else str(path)


def answer(job: Job, show_examples: bool, tracks: Tracks) -> dict[str, Any]:
    """Train what has to be trained, unlearn, measure and return the result document.

    Unlearning comes before the reference, which takes longest: what the method refuses is refused early.
    """
    rows = Rows(job.split, job.source.test, job.config.seed, also=job.config.metrics)
    with jointly(job.council):
        rows.refuse_unmeasurable(original=True, retrained=job.config.reference != "none")
        if job.shared:
            job.folder.within(SAVEPOINTS)  # opened before the others write there
    if job.must_train:
        train_original(job)
    if job.shared:
        take_over(job.original)
    if job.must_train:
        seen = without_certify(job.split, None if job.agreed is None else job.agreed.halves)
        check_request_fit(job.config, family_of(job.config.task), Predictor(job.original), seen, place="train")
    rows.original(job.original)
    result = unlearned(job, tracks)
    if job.council is not None:
        # What is removed in the end, the other processes have let go of.
        job.council.everyone(None)
    keep(job, result.model)
    rows.unlearned(result.model, job.config.method.name, result.method, result.seconds, result.history, result.peak)
    models = {"original": job.original, "method": result.model}
    if job.reference is not None:
        rows.retrained(job.reference)
        models["retrained"] = job.reference
    elif job.config.reference == "retrain":
        models["retrained"], seconds = retrained(job)
        rows.retrained(models["retrained"], seconds)
    earlier = relapse_part(job.left_out, models, find_correct_predictions())
    return told_in_full(job, rows, result, show_examples, earlier)


def train_original(job: Job) -> None:
    """Train the original and keep its weights, where the request wants them or in the run folder."""
    target = job.config.checkpoint or job.folder.within(ORIGINAL)
    trained(job.original, job.learned, job.config, job.console, "Training")
    target.parent.mkdir(parents=True, exist_ok=True)
    save_weights(job.original, target, overwrite=job.config.checkpoint is None)


def unlearned(job: Job, tracks: Tracks) -> Result:
    """Unlearn with a progress bar and a history that is written as it grows."""
    config = job.config

    def write(rows: list[Row]) -> None:
        job.folder.append_rows(HISTORY, rows)

    wish = {} if job.agreed is None else job.agreed.wish._asdict()
    with last_good_kept(job.folder), bar(job.console, "Unlearning") as shown, told_later():
        result = unlearn(
            job.original,
            forget=job.split.forget,
            retain=job.split.retain,
            holdout=job.split.holdout,
            **job.asked(),
            **wish,
            **config.conditions(),
            shared=job.shared,
            sanity_check=config.sanity_check,
            on_step=shown.update,
            on_rows=write,
            track=tracks,
            resume=savepoints_of(config, job.opening.force),
            exclude=job.left_out.classes or None,
        )
    compare_budget(job, result)
    if result.budget is not None:
        job.folder.write_lines(HISTORY, result.history)
    return result


def keep(job: Job, model: nn.Module) -> None:
    """Save the new weights in the form in which the original's came, and take them as they were saved.

    A checkpoint in half precision is answered in half precision, and what is measured is what the file holds.
    """
    path, state = job.folder.within(UNLEARNED), plain_state(model)
    if job.checkpoint is not None:
        state = in_form_of(state, load_fitting(model, job.checkpoint))
    save_weights(state, path, overwrite=True)
    load_into(model, path)


def seconds_noted(path: Path) -> float | None:
    """Return the seconds that a run has noted in the weights that it trained; None in weights that it did not make."""
    try:
        return float(read_metadata(path)[SECONDS])
    except (KeyError, ValueError):
        return None


def retrained(job: Job) -> tuple[nn.Module, float]:
    """Train the reference without the forgotten examples; return it with the seconds that took.

    A run that is gone on with takes the one that it has made already.
    """
    path = job.folder.within(RETRAINED)
    model = fresh_model(job.config, job.source, job.config.seed + REFERENCE_SEED).to(job.device)
    if job.opening.resume and path.exists() and (taken := seconds_noted(path)) is not None:
        load_into(model, path)
        return model, taken
    meter = Meter(job.device)
    trained(model, job.split.retain, job.config, job.console, "Retraining")
    seconds = meter.stop().seconds
    save_weights(model, path, {SECONDS: repr(seconds)}, overwrite=True)
    return model, seconds
