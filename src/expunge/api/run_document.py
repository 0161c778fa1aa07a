"""What a run tells: its result document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from expunge.api.budgeting import ROUNDED_CAVEAT, add_budget_section, build_spent_section, is_rounded
from expunge.api.disclosure import describe_request_settings
from expunge.api.documents import ORIGINAL_ELSEWHERE, ORIGINAL_IN_FOLDER, REPORT_SHOWS_EXAMPLES, build_document
from expunge.api.folder import ORIGINAL_FILE, UNLEARNED_FILE
from expunge.api.job import Job
from expunge.api.model_comparison import ModelComparison
from expunge.api.request.request_file import RequestFile
from expunge.api.request_section import RequestInfo, build_contact_sheet, build_request_section
from expunge.api.result import Result
from expunge.api.sanity import build_fit_section
from expunge.key import load_or_create_key
from expunge.weights import load_weights

if TYPE_CHECKING:
    from expunge.api.generative.diffusion_job import DiffusionJob

STILL_CONTAINS_DATA = ("The training data themselves, and any cache of them.",)


def build_run_document(
    job: Job, rows: ModelComparison, result: Result, show_examples: bool, earlier: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the result document; ``earlier`` is its part about earlier requests."""
    names = job.source.class_names
    sheet = build_contact_sheet(job.split.forget, rows.outputs, names) if show_examples else []
    info = RequestInfo("request", f"Forget {job.request.describe(names)}", job.request.kind, names)
    part = build_request_section(info, job.split, job.source.test, rows.score(), None, sheet, metrics=rows.metrics)
    part = add_spending_section(part, job, result) | {
        **build_fit_section(result.fit),
        **build_title(job.config),
        **earlier,
    }
    title, command = f"{info.description} ({job.source.name})", f"expunge run {job.config.where() or 'request'}"
    weights = ORIGINAL_IN_FOLDER if (job.folder.path / ORIGINAL_FILE).exists() else ORIGINAL_ELSEWHERE
    still_contains_data = [*STILL_CONTAINS_DATA, weights, *([REPORT_SHOWS_EXAMPLES] if sheet else [])]
    disclosure = describe_request_settings(job.config.method.automatic, result)
    content = build_document("run", title, command, disclosure, [part], still_contains_data, str(job.device))
    content["limitations"] += job.left_out.copies
    if result.budget is not None and is_rounded(result.model, load_weights(job.folder.path / UNLEARNED_FILE)):
        content["limitations"].append(ROUNDED_CAVEAT)
    return content


def build_title(config: RequestFile) -> dict[str, Any]:
    """Return the title that a request file gives the request; nothing where it gives none."""
    return {} if config.request is None or config.request.title is None else {"title": config.request.title}


def add_spending_section(part: dict[str, Any], job: Job | DiffusionJob, result: Result) -> dict[str, Any]:
    """Return a request's part with what became of the budget, and what of it the ledger accounts."""
    if job.budget_plan is None or result.budget is None:
        return part
    holdout_split = job.budget_plan.holdout_split
    section = add_budget_section(part, result.budget, holdout_split, result.search_history)
    return section | {"spent": build_spent_section(result.budget, holdout_split, load_or_create_key())}
