"""``ulira_request``: the audit with shadow models for the request in a file."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from expunge.api.audits.shadow_study import ShadowStudy
from expunge.api.audits.ulira import score_study
from expunge.api.audits.ulira_result import CACHE_FOLDER, ULiRAResult
from expunge.api.budgeting import prepare_budget
from expunge.api.compute_context import compute_context
from expunge.api.folder import ULIRA_FOLDER, check_writable
from expunge.api.inputs import get_sizes, resolve_device
from expunge.api.job import build_method_kwargs
from expunge.api.loading import (
    create_trainable_model,
    error_location,
    load_request_data,
    read_train_settings,
    validate_method,
)
from expunge.api.progress import progress_bar
from expunge.api.result import get_task
from expunge.batch import Predictor, Split
from expunge.errors import ConfigError
from expunge.metrics import LikelihoodRatio
from expunge.request.model_request import ModelRequest
from expunge.request.request_file import RequestFile
from expunge.shadows import ShadowStore, ShadowTraining
from expunge.type_checks import check_argument_types

STATE_LABELS = {"original": "before unlearning", "unlearned": "after unlearning", "retrained": "never trained on them"}


class ULiRAPlan(NamedTuple):
    """A study, and what its models are told to do."""

    study: ShadowStudy
    options: dict[str, Any]
    reference: bool


@check_argument_types
def ulira_request(
    config: RequestFile,
    *,
    num_shadow_models: int = 32,
    cache: Path | None = None,
    jobs: int = 1,
    data_dir: Path | None = None,
    console: Console | None = None,
) -> ULiRAResult:
    """Audit the method of a request with shadow models, and write the audit into the folder ``ulira`` of its run.

    The candidates are the examples that the request forgets: each shadow model is trained without a random half of them
    and unlearns the other half. The network, its training, the method and the held-out examples are the request's; with
    ``retrained_model: retrain`` models that were never trained on a candidate are made too. The original's weights are
    not used.

    Args:
        config: The request, with a section ``train``.
        num_shadow_models: How many shadow models, an even number. Default 32.
        cache: Folder for models and answers. Default: ``ulira/cache`` in the run folder.
        jobs: Processes that unlearn side by side. Default 1.
        data_dir: Folder of the data. Default: the variable ``EXPUNGE_DATA``.
        console: Where progress and figures go. Default: nowhere.

    Raises:
        ConfigError: If the request is not one to a classifier, or has no section ``train``.
        ExpungeError: If something else does not fit; before the first step.
    """
    console = console or Console(quiet=True)
    config = config.as_model_request("audit a classifier")
    if not get_task(config.task).is_classifier:
        raise ConfigError("the request of a classifier", f"task: {config.task}", "audit a classifier")
    folder = config.out / ULIRA_FOLDER
    with error_location(config, "out"):
        check_writable(folder)
    with compute_context(config):
        plan = build_study(config, num_shadow_models, cache or folder / CACHE_FOLDER, data_dir)
        with progress_bar(console, "Shadow models", width=17) as progress:

            def done(what: str, ready: int, every: int) -> None:
                progress.display.update(progress.task, description=f"{what:<17}", completed=ready, total=every)

            result = score_study(plan.study, plan.options, plan.reference, jobs, done)
    if cache is not None:
        result = replace(result, metadata={**result.metadata, CACHE_FOLDER: str(cache.resolve())})
    result.save(folder)
    print_results(result, console)
    console.print(f"Audit:   {folder}", soft_wrap=True)
    return result


def build_study(config: ModelRequest, num_shadow_models: int, cache: Path, data_dir: Path | None) -> ULiRAPlan:
    """Return the study that a request describes, after everything that can be checked has been."""
    settings, method = read_train_settings(config), validate_method(config)
    with error_location(config, "device"):
        device = resolve_device(config.device)
    parts = load_request_data(config, data_dir)
    source, holdout = parts.source, parts.holdout
    model = create_trainable_model(config, source)
    sizes = {**get_sizes(source), **config.model.options}
    make = partial(get_task(config.task).create_model, config.model.name, **sizes)
    augment = getattr(source.train, "augment", None)
    training = ShadowTraining(make, source.train, settings, augment, None, device, store=ShadowStore(cache))
    with error_location(config, "forget", config.forget.kind):
        study = ShadowStudy(training, parts.positions.forget, source.test, holdout, num_shadow_models, config.seed)
    split = Split(*parts.sides, len(source.class_names), holdout)
    budget = prepare_budget(config, None if config.method.automatic else method, Predictor(model), split)
    named = build_method_kwargs(config, None if config.method.automatic else method)
    allowed = {} if budget is None else {"budget": budget.budget_options.budget}
    options = {**named, **allowed, "seed": config.seed, "config": config.run_config()}
    return ULiRAPlan(study, options, config.retrained_model != "none")


def print_results(result: ULiRAResult, console: Console) -> None:
    """Print the figures of every state."""
    table = Table(title="What a likelihood-ratio attack on each example finds (50 % is guessing)", title_justify="left")
    for name in ("models", "told right", "95 %", "AUC", "TPR @ FPR", "retain", "test"):
        table.add_column(name, justify="left" if name == "models" else "right")
    for state in result.outputs:
        figures, attack = result.summarize_state(state), result.attack(state)
        accuracies = (figures[f"{part}_accuracy"]["mean"] for part in ("retain", "test"))
        cells = ["–" if value is None else f"{value:.1f} %" for value in accuracies]
        table.add_row(STATE_LABELS[state], *format_attack(attack), *cells)
    console.print(table)


def format_attack(attack: LikelihoodRatio) -> list[str]:
    """Return the figures of an attack as they are shown."""
    low, high = attack.interval
    stated = [f"{100 * one.tpr:.1f} % @ {100 * one.fpr:g} %" for one in attack.recalls]
    recall = stated[-1] if stated else "too few"
    return [
        f"{100 * attack.balanced_accuracy:.1f} %",
        f"{100 * low:.1f} – {100 * high:.1f}",
        f"{attack.auc:.3f}",
        recall,
    ]
