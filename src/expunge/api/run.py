"""Answer the request in a file: read, check, unlearn, measure, report."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from torch import nn

from expunge.api.budgeting import is_original_returned
from expunge.api.checkpointing import create_checkpoint_manager
from expunge.api.compute_context import compute_context
from expunge.api.distributed import (
    all_ranks_or_none,
    broadcast_done,
    count_processes,
    distributed_context,
    is_worker,
    run_worker,
)
from expunge.api.earlier_requests import NO_EXCLUSIONS
from expunge.api.folder import (
    CHECKPOINTS_FOLDER,
    CONFIG_FILE,
    GRID_FILE,
    HISTORY_FILE,
    ORIGINAL_FILE,
    REPORT_FILE,
    RESULT_FILE,
    RETRAINED_FILE,
    UNLEARNED_FILE,
    FolderMode,
)
from expunge.api.inputs import create_model
from expunge.api.job import Job, prepare
from expunge.api.logging_hooks import build_loggers, extract_scores
from expunge.api.model_comparison import ModelComparison
from expunge.api.path_conflicts import check_paths
from expunge.api.progress import progress_bar
from expunge.api.recording import LedgerRecorder, check_ledger, compare_budget, create_recorder
from expunge.api.recovery import save_last_good_on_error
from expunge.api.relapse import build_relapse_section, make_correctness_finder
from expunge.api.request.config import AnyConfig, DiffusionConfig, StableDiffusionConfig
from expunge.api.result import Result, get_task
from expunge.api.run_document import build_run_document
from expunge.api.sanity import check_request_fit, fit_warning_filter
from expunge.api.seal import read_sealed_result, seal_document
from expunge.api.steering.budget_validation import drop_certify_half
from expunge.api.training import train_model
from expunge.api.unlearning import unlearn
from expunge.batch import Predictor
from expunge.callbacks import LambdaCallback
from expunge.data import device_cache, hash_cache
from expunge.engine import PROCESS_SIGNALS, HistoryRow, Interrupted, ResourceMeter, broadcast_weights
from expunge.errors import ConfigError
from expunge.loggers import LoggerGroup
from expunge.report import print_tables, write_report
from expunge.type_checks import check_argument_types
from expunge.weights import cast_like, folder_lock, load_into, load_matching, read_metadata, save_weights, unwrap_state

if TYPE_CHECKING:
    from expunge.api.recording import AnyJob

IN_USE_HINT = "wait for it to end, or choose another folder with out (--out)"
SECONDS_KEY = "seconds"
"""In the header of the reference's file: what its training took."""
REFERENCE_SEED_OFFSET = 10_000
"""Added to the seed of the run, so that the reference starts from weights of its own."""


@check_argument_types
def run_request(
    config: AnyConfig,
    *,
    data_dir: Path | None = None,
    overwrite: bool = False,
    show_examples: bool = False,
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
        resume: Go on with a run that was stopped or killed, to the same bits; begin where there is none, and leave one
            that is finished as it is. Default false.
        force: Answer a request once more that the ledger shows to have been served. With ``resume``, go on although
            another version of this package, or other sources of it or of your own method, began the run. Default false.
        console: Where progress and tables go. Default: nowhere.

    Raises:
        ExpungeError: If something does not fit; before the first step, with the folder as it was.
        RequestError: If the request names a ledger, and that has an entry which answered it for this model.
        NotFiniteError: If the model diverges; what was done until then is in the folder.
        Stopped: After SIGTERM or the interrupt key, once the state is saved.
    """
    console, folder_mode = console or Console(quiet=True), FolderMode(overwrite, resume, force)
    if overwrite and resume:
        raise ConfigError("--overwrite or --resume", "both", "go on with the run in the folder, or replace it")
    check_paths(config, data_dir)
    check_ledger(config)
    with (
        graceful_shutdown(config),
        compute_context(config),
        distributed_context(config) as council,
        ExitStack() as contexts,
    ):
        contexts.enter_context(hash_cache())
        if council is not None and council.rank:
            run_worker(config, data_dir, council)
            return config.out
        with all_ranks_or_none(council):
            job = prepare_request(config, data_dir, folder_mode, console)
            done = resume and (config.out / RESULT_FILE).exists()
            recorder = create_recorder(job, force, done)
            contexts.enter_context(folder_lock(config.out, IN_USE_HINT))
        if council is not None and isinstance(job, Job):
            broadcast_done(job, council, done)
        if done:
            return finalize_run(job, recorder, console)
        names = getattr(getattr(job, "source", None), "class_names", ())
        for sentence in getattr(job, "left_out", NO_EXCLUSIONS).sentences(names):
            console.print(sentence, soft_wrap=True)
        with build_loggers(config) as tracks:
            outputs, result = dispatch_request(job, show_examples, tracks)
            tracks.log_summary(extract_scores(result))
        write_outputs(job, outputs, result, console)
        if recorder is not None:
            record_in_ledger(recorder, result, console)
    return config.out


def write_outputs(job: AnyJob, outputs: Mapping[str, str], result: dict[str, Any], console: Console) -> None:
    """Write report and result, which marks the run as finished, and print what there is to see."""
    folder = job.folder
    report = write_report(result, folder.path / REPORT_FILE)
    folder.write_json(RESULT_FILE, seal_document(result, folder.path))
    folder.clear_checkpoints()
    print_tables(result, console)
    for what, path in {**{what: folder.path / name for what, name in outputs.items()}, "Report:": report}.items():
        console.print(f"{what:<8} {display_path(path)}", soft_wrap=True)


@contextmanager
def graceful_shutdown(config: AnyConfig) -> Iterator[None]:
    """End the body between two updates after SIGTERM or the interrupt key, and say how to go on."""
    try:
        with PROCESS_SIGNALS.install():
            yield
    except Interrupted as stopped:
        if is_worker():
            raise Interrupted(stopped.signal_number, f"Process {os.environ['RANK']} stopped.") from None
        if not (config.out / CONFIG_FILE).exists():
            raise Interrupted(stopped.signal_number, "Stopped before anything was done.") from None
        command = f"`expunge run {config.where() or 'REQUEST.yaml'} --resume`"
        command += f" on {count_processes()} processes" if count_processes() > 1 else ""
        message = f"Stopped; what was done is saved in '{display_path(config.out)}', and {command} goes on from there."
        raise Interrupted(stopped.signal_number, message) from None


def finalize_run(job: AnyJob, recorder: LedgerRecorder | None, console: Console) -> Path:
    """Do for a run that is finished what a kill right after that may have left undone.

    Raises:
        DataError: If its files are not those that it wrote; nothing is written then.
    """
    result = read_sealed_result(job.config.out)
    job.folder.clear_checkpoints()
    console.print(f"The run in '{display_path(job.config.out)}' is finished.", soft_wrap=True)
    if recorder is not None and not recorder.is_recorded:
        record_in_ledger(recorder, result, console)
    return job.folder.path


def record_in_ledger(recorder: LedgerRecorder, result: dict[str, Any], console: Console) -> None:
    """Add a finished run to the ledger, if it has answered the request, and say so."""
    if is_original_returned(result):
        console.print("Ledger:  no entry, because the model is handed back as it came", soft_wrap=True)
        return
    entry = recorder.append_entry(result)
    console.print(f"Ledger:  entry {entry.number} in {display_path(recorder.ledger.path)}", soft_wrap=True)
    console.print(f"Head:    {entry.hash}", soft_wrap=True)


def prepare_request(config: AnyConfig, data_dir: Path | None, folder_mode: FolderMode, console: Console) -> AnyJob:
    """Read everything that a request needs, and refuse what does not fit; nothing is written."""
    if isinstance(config, DiffusionConfig):
        from expunge.api.generative import diffusion_job

        return diffusion_job.prepare(config, data_dir, folder_mode, console)
    if isinstance(config, StableDiffusionConfig):
        from expunge.api.generative.stable_diffusion_run import StableDiffusionJob

        return StableDiffusionJob(config, folder_mode, console)
    return prepare(config, data_dir, folder_mode, console)


def dispatch_request(job: AnyJob, show_examples: bool, tracks: LoggerGroup) -> tuple[dict[str, str], dict[str, Any]]:
    """Answer a request; return what was made in its folder, and the result document."""
    if isinstance(job, Job):
        with device_cache(job.device, job.source.train, job.source.test):
            return {"Weights:": UNLEARNED_FILE}, execute_request(job, show_examples or job.config.show_examples, tracks)
    outputs = {"Model:": "unlearned", "Grid:": GRID_FILE}
    if isinstance(job.config, StableDiffusionConfig):
        return outputs, job.execute(tracks)
    from expunge.api.generative import diffusion_run

    return outputs, diffusion_run.execute_diffusion_request(job, tracks)


def display_path(path: Path) -> str:
    """Return a path as it reads from the current folder, if it is below it."""
    return os.path.relpath(path) if path.resolve().is_relative_to(Path.cwd()) else str(path)


def execute_request(job: Job, show_examples: bool, tracks: LoggerGroup) -> dict[str, Any]:
    """Train what has to be trained, unlearn, measure and return the result document.

    Unlearning comes before the reference, which takes longest: what the method refuses is refused early.
    """
    rows = ModelComparison(job.split, job.source.test, job.config.seed, extra_metrics=job.config.metrics)
    with all_ranks_or_none(job.council):
        rows.check_measurable(original=True, retrained=job.config.retrained_model != "none")
        if job.is_distributed:
            job.folder.file_path(CHECKPOINTS_FOLDER)  # opened before the others write there
    if job.must_train:
        train_original(job)
    if job.is_distributed:
        broadcast_weights(job.original)
    if job.must_train:
        visible = drop_certify_half(job.split, None if job.budget_plan is None else job.budget_plan.holdout_split)
        check_request_fit(job.config, get_task(job.config.task), Predictor(job.original), visible, key="train")
    rows.add_original(job.original)
    result = run_unlearning(job, tracks)
    if job.council is not None:
        # What is removed in the end, the other processes have let go of.
        job.council.all_gather(None)
    save_unlearned(job, result.model)
    rows.add_unlearned(
        result.model, job.config.method.name, result.method, result.seconds, result.history, result.peak_memory
    )
    models = {"original": job.original, "method": result.model}
    if job.retrained is not None:
        rows.add_retrained(job.retrained)
        models["retrained"] = job.retrained
    elif job.config.retrained_model == "retrain":
        models["retrained"], seconds = train_reference(job)
        rows.add_retrained(models["retrained"], seconds)
    earlier = build_relapse_section(job.left_out, models, make_correctness_finder())
    return build_run_document(job, rows, result, show_examples, earlier)


def train_original(job: Job) -> None:
    """Train the original and keep its weights, where the request wants them or in the run folder."""
    target = job.config.checkpoint or job.folder.file_path(ORIGINAL_FILE)
    train_model(job.original, job.training_examples, job.config, job.console, "Training")
    target.parent.mkdir(parents=True, exist_ok=True)
    save_weights(job.original, target, overwrite=job.config.checkpoint is None)


def run_unlearning(job: Job, tracks: LoggerGroup) -> Result:
    """Unlearn with a progress bar and a history that is written as it grows."""
    config = job.config

    def write(rows: list[HistoryRow]) -> None:
        job.folder.append_rows(HISTORY_FILE, rows)

    with save_last_good_on_error(job.folder), progress_bar(job.console, "Unlearning") as progress, fit_warning_filter():
        result = unlearn(
            job.original,
            forget=job.split.forget,
            retain=job.split.retain,
            holdout=job.split.holdout,
            **job.get_unlearn_kwargs(),
            callbacks=LambdaCallback(on_step=progress.update, on_log=write),
            config=config.run_config(
                distributed=job.is_distributed,
                sanity_check=config.sanity_check,
                loggers=tracks,
                checkpoints=create_checkpoint_manager(config, job.folder_mode.force),
                exclude=job.left_out.classes or None,
            ),
        )
    compare_budget(job, result)
    if result.budget is not None:
        job.folder.write_lines(HISTORY_FILE, result.history)
    return result


def save_unlearned(job: Job, model: nn.Module) -> None:
    """Save the new weights in the form in which the original's came, and take them as they were saved.

    A checkpoint in half precision is answered in half precision, and what is measured is what the file holds.
    """
    path, state = job.folder.file_path(UNLEARNED_FILE), unwrap_state(model)
    if job.checkpoint is not None:
        state = cast_like(state, load_matching(model, job.checkpoint))
    save_weights(state, path, overwrite=True)
    load_into(model, path)


def read_train_seconds(path: Path) -> float | None:
    """Return the seconds that a run has noted in the weights that it trained; None in weights that it did not make."""
    try:
        return float(read_metadata(path)[SECONDS_KEY])
    except (KeyError, ValueError):
        return None


def train_reference(job: Job) -> tuple[nn.Module, float]:
    """Train the reference without the forgotten examples; return it with the seconds that took.

    A run that is gone on with takes the one that it has made already.
    """
    path = job.folder.file_path(RETRAINED_FILE)
    model = create_model(job.config, job.source, job.config.seed + REFERENCE_SEED_OFFSET).to(job.device)
    if job.folder_mode.resume and path.exists() and (train_seconds := read_train_seconds(path)) is not None:
        load_into(model, path)
        return model, train_seconds
    meter = ResourceMeter(job.device)
    train_model(model, job.split.retain, job.config, job.console, "Retraining")
    seconds = meter.stop().seconds
    save_weights(model, path, {SECONDS_KEY: repr(seconds)}, overwrite=True)
    return model, seconds
