"""The one runner: train the original, unlearn, retrain, measure; what a request asks for, once and for all verbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from expunge.api.budgeting import add_budget_section, build_spent_section
from expunge.api.checkpointing import create_checkpoint_manager
from expunge.api.disclosure import describe_request_settings
from expunge.api.documents import build_document
from expunge.api.folder import HISTORY_FILE
from expunge.api.job import Job, build_method_kwargs
from expunge.api.progress import progress_bar
from expunge.api.recording import compare_budget
from expunge.api.recovery import save_last_good_on_error
from expunge.api.result import Result
from expunge.api.sanity import build_fit_section, fit_warning_filter
from expunge.api.unlearning import unlearn
from expunge.batch import Split
from expunge.budget import Budget
from expunge.callbacks import LambdaCallback
from expunge.engine import broadcast_weights
from expunge.key import load_or_create_key
from expunge.loggers import LoggerGroup
from expunge.methods import Method
from expunge.request.request_file import RequestFile


class RunComparison(Protocol):
    """What every model of a run is added to, and measured by."""

    def add_original(self, model: Any, /) -> None:
        """Add the model before unlearning."""

    def add_retrained(self, model: Any, seconds: float | None, /) -> Any:
        """Add a model that never saw what is forgotten."""

    def add_unlearned(
        self,
        model: Any,
        key: str,
        method: Method,
        seconds: float,
        history: Sequence[Mapping[str, Any]],
        peak_memory: int | None,
        /,
    ) -> None:
        """Add the model that forgot."""


@dataclass(frozen=True)
class RunOutcome:
    """What became of a request.

    Args:
        comparison: All models, measured.
        result: Of unlearning.
        models: By role: ``original``, ``method`` and, where there is one, ``retrained``.
        retrain_seconds: What the training of each retrained model took, where that is known.
    """

    comparison: Any
    result: Result
    models: dict[str, nn.Module]
    retrain_seconds: tuple[float | None, ...]


def run_job(job: Job[Any], loggers: LoggerGroup | None = None) -> RunOutcome:
    """Train what has to be trained, unlearn, retrain and measure.

    Unlearning comes before the retrained models, which take longest: what the method refuses is refused early.

    Args:
        job: The request.
        loggers: Where figures go meanwhile. Default: nowhere.
    """
    split, comparison = job.build_split(), job.create_comparison()
    if job.must_train:
        job.train_original()
    if job.is_distributed:
        broadcast_weights(job.original)
    if job.must_train:
        job.check_trained()
    comparison.add_original(job.original)
    with save_last_good_on_error(job.folder), fit_warning_filter():
        result = run_unlearning(job, split, loggers)
    if job.council is not None:
        # What is removed in the end, the other processes have let go of.
        job.council.all_gather(None)
    models = {"original": job.original, "method": job.save_answer(result.model)}
    costs = result.seconds, result.history, result.peak_memory
    comparison.add_unlearned(models["method"], job.config.method.name, result.method, *costs)
    retrain_seconds = []
    for reference, seconds in job.make_references():
        comparison.add_retrained(reference, seconds)
        models.setdefault("retrained", reference)
        retrain_seconds.append(seconds)
    return RunOutcome(comparison, result, models, tuple(retrain_seconds))


def unlearn_split(
    model: nn.Module,
    split: Split,
    config: RequestFile,
    method: Method | None,
    budget: Budget | None,
    *,
    callbacks: Any = (),
    **options: Any,
) -> Result:
    """Call ``unlearn`` as a request file asks."""
    sides: dict[str, Any] = {"forget": split.forget, "retain": split.retain, "holdout": split.holdout}
    asked = {**build_method_kwargs(config, method), "budget": budget, "seed": config.seed, "task": config.task}
    return unlearn(model, **sides, **asked, callbacks=callbacks, config=config.run_config(**options))


def run_unlearning(job: Job[Any], split: Split, loggers: LoggerGroup | None) -> Result:
    """Unlearn with a progress bar and a history that is written as it grows."""
    with progress_bar(job.console, "Unlearning", images=job.images_per_update) as progress:
        result = unlearn_split(
            job.model,
            split,
            job.config,
            job.chosen_method,
            job.budget,
            callbacks=LambdaCallback(
                on_step=progress.update, on_log=lambda rows: job.folder.append_rows(HISTORY_FILE, rows)
            ),
            distributed=job.is_distributed,
            sanity_check=job.config.sanity_check,
            loggers=loggers,
            checkpoints=create_checkpoint_manager(job.config, job.folder_mode.force),
            exclude=job.left_out.classes or None,
        )
    compare_budget(job, result)
    if result.budget is not None:
        job.folder.write_lines(HISTORY_FILE, result.history)
    return result


def build_run_document(job: Job[Any], outcome: RunOutcome, show_examples: bool) -> dict[str, Any]:
    """Return the result document of a request."""
    result, config = outcome.result, job.config
    section = add_spending_section(job.build_section(outcome, show_examples), job, result)
    section |= {**build_fit_section(result.fit), **build_title(config)}
    disclosure = f"{describe_request_settings(config.method.automatic, result)} {job.disclosure_note}".strip()
    command, remains = f"expunge run {config.where() or 'request'}", job.list_still_contains_data(section)
    content = build_document("run", job.title, command, disclosure, [section], remains, str(job.device))
    content["limitations"] += job.list_limitations(outcome)
    return content


def build_title(config: RequestFile) -> dict[str, Any]:
    """Return the title that a request file gives the request; nothing where it gives none."""
    return {} if config.request is None or config.request.title is None else {"title": config.request.title}


def add_spending_section(part: dict[str, Any], job: Job[Any], result: Result) -> dict[str, Any]:
    """Return a request's part with what became of the budget, and what of it the ledger accounts."""
    if job.budget_plan is None or result.budget is None:
        return part
    holdout_split = job.budget_plan.holdout_split
    section = add_budget_section(part, result.budget, holdout_split, result.search_history)
    return section | {"spent": build_spent_section(result.budget, holdout_split, load_or_create_key())}
