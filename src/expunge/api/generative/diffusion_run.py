"""Answer a request to a diffusion model: unlearn, let both models draw, let the judge look, report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from expunge.api.disclosing import request_disclosure
from expunge.api.documents import document
from expunge.api.folder import GRID, HISTORY
from expunge.api.generative.diffusion_job import DiffusionJob
from expunge.api.generative.generated import Drawing, GeneratedRows, find_correct_drawings, generated_part
from expunge.api.generative.grids import HOLDS as GRID_HOLDS
from expunge.api.last_good import last_good_kept
from expunge.api.progress import bar
from expunge.api.recording import compare_budget
from expunge.api.relapse import DRAWN, relapse_part
from expunge.api.requests import Asked
from expunge.api.result import Result
from expunge.api.sanity import fit_part, told_later
from expunge.api.sitting import savepoints_of
from expunge.api.telling import titled, with_spending
from expunge.api.unlearning import unlearn
from expunge.tasks.diffusion.ddpm import DDPM
from expunge.tasks.diffusion.family import Diffusion
from expunge.trackers import Tracks

HOLDS = ("The training data themselves, and any cache of them.", "The original model's folder.", GRID_HOLDS)


def answer(job: DiffusionJob, tracks: Tracks) -> dict[str, Any]:
    """Unlearn, draw, judge and return the result document."""
    config = job.config
    gone, drawing_of = job.left_out.classes, Drawing(**config.images.model_dump())
    rows = GeneratedRows(job.split, job.real, job.judge, drawing_of, config.seed, gone)
    result = unlearned(job, tracks)
    kept = Diffusion().save(result.model, job.folder.path)
    with drawing(job, "Original", len(rows.labels)) as shown:
        rows.original(job.original, on_images=shown)
    with drawing(job, "Unlearned", len(rows.labels)) as shown:
        saved = DDPM.from_pretrained(kept).to(job.device)
        rows.unlearned(saved, config.method.name, result.method, result.seconds, result.history, shown)
    names = job.source.class_names
    rows.grid(names).write(job.folder.path / GRID)
    asked = Asked("request", f"Forget {job.request.sentence(names)}", job.request.kind, names)
    title, command = f"{asked.question} ({job.source.name})", f"expunge run {config.where() or 'request'}"
    part = with_spending(generated_part(asked, rows, len(job.real)), job, result) | titled(config)
    part |= fit_part(result.fit)
    models = {} if job.judge is None else {"original": job.original, "method": saved}
    with drawing(job, "Earlier", len(models) * len(job.left_out.earlier) * drawing_of.forgotten) as shown:
        part |= relapse_part(job.left_out, models, find_correct_drawings(drawing_of, job.judge, shown), DRAWN)
    disclosure = request_disclosure(config.method.automatic, result)
    made = document("run", title, command, disclosure, [part], HOLDS, str(job.device))
    made["caveats"] += job.left_out.copies
    return made


@contextmanager
def drawing(job: DiffusionJob, whose: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """Show a bar of the images that a model draws; lends what is to be called after each batch."""
    with bar(job.console, whose, total, images=1) as shown:
        yield shown.reached


def unlearned(job: DiffusionJob, tracks: Tracks) -> Result:
    """Unlearn with a progress bar and a history that is written as it grows."""
    config = job.config
    batch = getattr(job.method, "batch", 0) or 0
    wish = {} if job.agreed is None else job.agreed.wish._asdict()
    with last_good_kept(job.folder), bar(job.console, "Unlearning", images=batch) as shown, told_later():
        result = unlearn(
            job.original,
            forget=job.split.forget,
            retain=job.split.retain,
            holdout=job.split.holdout,
            task="diffusion",
            **job.asked(),
            **wish,
            **config.conditions(),
            average=config.average,
            sanity_check=config.sanity_check,
            on_step=shown.update,
            on_rows=lambda rows: job.folder.append_rows(HISTORY, rows),
            track=tracks,
            resume=savepoints_of(config),
            exclude=job.left_out.classes or None,
        )
    compare_budget(job, result)
    if result.budget is not None:
        job.folder.write_lines(HISTORY, result.history)
    return result
