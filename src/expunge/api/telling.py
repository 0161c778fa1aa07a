"""What a run tells: its result document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from expunge.api.budgeting import ROUNDED, is_rounded, spent_part, with_budget
from expunge.api.disclosing import request_disclosure
from expunge.api.documents import HELD_ELSEWHERE, HELD_HERE, SHOWN, document
from expunge.api.folder import ORIGINAL, UNLEARNED
from expunge.api.job import Job
from expunge.api.request.request_file import RequestFile
from expunge.api.requests import Asked, contact_sheet, request_part
from expunge.api.result import Result
from expunge.api.rows import Rows
from expunge.api.sanity import fit_part
from expunge.key import load_key
from expunge.weights import load_weights

if TYPE_CHECKING:
    from expunge.api.generative.diffusion_job import DiffusionJob

HOLDS = ("The training data themselves, and any cache of them.",)


def told_in_full(
    job: Job, rows: Rows, result: Result, show_examples: bool, earlier: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the result document; ``earlier`` is its part about earlier requests."""
    names = job.source.class_names
    sheet = contact_sheet(job.split.forget, rows.outputs, names) if show_examples else []
    asked = Asked("request", f"Forget {job.request.sentence(names)}", job.request.kind, names)
    part = request_part(asked, job.split, job.source.test, rows.trials(), None, sheet, metrics=rows.metrics)
    part = with_spending(part, job, result) | {**fit_part(result.fit), **titled(job.config), **earlier}
    title, command = f"{asked.question} ({job.source.name})", f"expunge run {job.config.where() or 'request'}"
    weights = HELD_HERE if (job.folder.path / ORIGINAL).exists() else HELD_ELSEWHERE
    held = [*HOLDS, weights, *([SHOWN] if sheet else [])]
    disclosure = request_disclosure(job.config.method.automatic, result)
    made = document("run", title, command, disclosure, [part], held, str(job.device))
    made["caveats"] += job.left_out.copies
    if result.budget is not None and is_rounded(result.model, load_weights(job.folder.path / UNLEARNED)):
        made["caveats"].append(ROUNDED)
    return made


def titled(config: RequestFile) -> dict[str, Any]:
    """Return the title that a request file gives the request; nothing where it gives none."""
    return {} if config.request is None or config.request.title is None else {"title": config.request.title}


def with_spending(part: dict[str, Any], job: Job | DiffusionJob, result: Result) -> dict[str, Any]:
    """Return a request's part with what became of the budget, and what of it the ledger accounts."""
    if job.agreed is None or result.budget is None:
        return part
    halves = job.agreed.halves
    told = with_budget(part, result.budget, halves, result.search)
    return told | {"spent": spent_part(result.budget, halves, load_key())}
