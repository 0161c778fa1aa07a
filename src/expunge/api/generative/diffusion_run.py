"""Answer a request to a diffusion model: unlearn, let both models draw, let the classifier look, report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from expunge.api.checkpointing import create_checkpoint_manager
from expunge.api.disclosure import describe_request_settings
from expunge.api.documents import build_document
from expunge.api.folder import GRID_FILE, HISTORY_FILE
from expunge.api.generative.diffusion_job import DiffusionJob
from expunge.api.generative.grids import STILL_CONTAINS_DATA as GRID_HOLDS
from expunge.api.generative.image_comparison import (
    ImageModelComparison,
    SamplingConfig,
    build_generative_section,
    make_correct_image_finder,
)
from expunge.api.progress import progress_bar
from expunge.api.recording import compare_budget
from expunge.api.recovery import save_last_good_on_error
from expunge.api.relapse import DRAWN_PARTS, build_relapse_section
from expunge.api.request_section import RequestInfo
from expunge.api.result import Result
from expunge.api.run_document import add_spending_section, build_title
from expunge.api.sanity import build_fit_section, fit_warning_filter
from expunge.api.unlearning import unlearn
from expunge.callbacks import LambdaCallback
from expunge.loggers import LoggerGroup
from expunge.tasks.diffusion.ddpm import DDPM
from expunge.tasks.diffusion.task import Diffusion

STILL_CONTAINS_DATA = (
    "The training data themselves, and any cache of them.",
    "The original model's folder.",
    GRID_HOLDS,
)


def execute_diffusion_request(job: DiffusionJob, tracks: LoggerGroup) -> dict[str, Any]:
    """Unlearn, draw, classifier and return the result document."""
    config = job.config
    excluded_classes, sampling = job.left_out.classes, SamplingConfig(**config.images.model_dump())
    rows = ImageModelComparison(job.split, job.real, job.classifier, sampling, config.seed, excluded_classes)
    result = run_unlearning(job, tracks)
    model_folder = Diffusion().save(result.model, job.folder.path)
    with sampling_progress(job, "Original", len(rows.labels)) as shown:
        rows.add_original(job.original, on_images=shown)
    with sampling_progress(job, "Unlearned", len(rows.labels)) as shown:
        saved = DDPM.from_pretrained(model_folder).to(job.device)
        rows.add_unlearned(saved, config.method.name, result.method, result.seconds, result.history, shown)
    names = job.source.class_names
    rows.build_grid(names).write(job.folder.path / GRID_FILE)
    request_info = RequestInfo("request", f"Forget {job.request.describe(names)}", job.request.kind, names)
    title, command = f"{request_info.description} ({job.source.name})", f"expunge run {config.where() or 'request'}"
    part = add_spending_section(build_generative_section(request_info, rows, len(job.real)), job, result) | build_title(
        config
    )
    part |= build_fit_section(result.fit)
    models = {} if job.classifier is None else {"original": job.original, "method": saved}
    with sampling_progress(job, "Earlier", len(models) * len(job.left_out.earlier) * sampling.forgotten) as shown:
        part |= build_relapse_section(
            job.left_out, models, make_correct_image_finder(sampling, job.classifier, shown), DRAWN_PARTS
        )
    disclosure = describe_request_settings(config.method.automatic, result)
    result_document = build_document("run", title, command, disclosure, [part], STILL_CONTAINS_DATA, str(job.device))
    result_document["limitations"] += job.left_out.copies
    return result_document


@contextmanager
def sampling_progress(job: DiffusionJob, label: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """Show a bar of the images that a model draws; lends what is to be called after each batch."""
    with progress_bar(job.console, label, total, images=1) as shown:
        yield shown.set_progress


def run_unlearning(job: DiffusionJob, tracks: LoggerGroup) -> Result:
    """Unlearn with a progress bar and a history that is written as it grows."""
    config = job.config
    batch = getattr(job.method, "batch_size", 0) or 0
    with (
        save_last_good_on_error(job.folder),
        progress_bar(job.console, "Unlearning", images=batch) as shown,
        fit_warning_filter(),
    ):
        result = unlearn(
            job.original,
            forget=job.split.forget,
            retain=job.split.retain,
            holdout=job.split.holdout,
            task="diffusion",
            **job.get_unlearn_kwargs(),
            callbacks=LambdaCallback(
                on_step=shown.update, on_log=lambda rows: job.folder.append_rows(HISTORY_FILE, rows)
            ),
            config=config.run_config(
                sanity_check=config.sanity_check,
                loggers=tracks,
                checkpoints=create_checkpoint_manager(config),
                exclude=job.left_out.classes or None,
            ),
        )
    compare_budget(job, result)
    if result.budget is not None:
        job.folder.write_lines(HISTORY_FILE, result.history)
    return result
