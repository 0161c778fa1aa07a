"""Answer the request in a file: read, check, unlearn, measure, report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from expunge.api.budgeting import is_original_returned
from expunge.api.compute_context import compute_context
from expunge.api.distributed import (
    all_ranks_or_none,
    broadcast_done,
    count_processes,
    distributed_context,
    is_worker,
    run_worker,
)
from expunge.api.execute import build_run_document, run_job
from expunge.api.folder import (
    CONFIG_FILE,
    REPORT_FILE,
    RESULT_FILE,
    FolderMode,
)
from expunge.api.job import Job, prepare_job
from expunge.api.logging_hooks import build_loggers, extract_scores
from expunge.api.path_conflicts import check_paths
from expunge.api.recording import LedgerRecorder, check_ledger, create_recorder
from expunge.api.seal import read_sealed_result, seal_document
from expunge.data import hash_cache
from expunge.engine import PROCESS_SIGNALS, Interrupted
from expunge.errors import ConfigError
from expunge.report import print_tables, write_report
from expunge.request.request_file import RequestFile
from expunge.type_checks import check_argument_types
from expunge.weights import folder_lock

IN_USE_HINT = "wait for it to end, or choose another folder with out (--out)"


@check_argument_types
def run_request(
    config: RequestFile,
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
            job = prepare_job(config, data_dir, folder_mode, console)
            done = resume and (config.out / RESULT_FILE).exists()
            recorder = create_recorder(job, force, done)
            contexts.enter_context(folder_lock(config.out, IN_USE_HINT))
        if council is not None:
            broadcast_done(job, council, done)
        if done:
            return finalize_run(job, recorder, console)
        job.announce()
        with build_loggers(config) as tracks, job.cache_data():
            result = build_run_document(job, run_job(job, tracks), show_examples)
            tracks.log_summary(extract_scores(result))
        write_outputs(job, result, console)
        if recorder is not None:
            record_in_ledger(recorder, result, console)
    return config.out


def write_outputs(job: Job[Any], result: dict[str, Any], console: Console) -> None:
    """Write report and result, which marks the run as finished, and print what there is to see."""
    folder = job.folder
    report = write_report(result, folder.path / REPORT_FILE)
    folder.write_json(RESULT_FILE, seal_document(result, folder.path))
    folder.clear_checkpoints()
    print_tables(result, console)
    for what, path in {**{what: folder.path / name for what, name in job.outputs.items()}, "Report:": report}.items():
        console.print(f"{what:<8} {display_path(path)}", soft_wrap=True)


@contextmanager
def graceful_shutdown(config: RequestFile) -> Iterator[None]:
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


def finalize_run(job: Job[Any], recorder: LedgerRecorder | None, console: Console) -> Path:
    """Do for a run that is finished what a kill right after that may have left undone."""
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


def display_path(path: Path) -> str:
    """Return a path as it reads from the current folder, if it is below it."""
    return os.path.relpath(path) if path.resolve().is_relative_to(Path.cwd()) else str(path)
