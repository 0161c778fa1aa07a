"""``ulira_request``: the audit with shadow models for the request in a file."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from expunge.api.audits.leakage import CACHE, Leakage
from expunge.api.audits.shadow_study import Study
from expunge.api.audits.ulira import judged
from expunge.api.budgeting import agreed
from expunge.api.folder import SHADOWS, check_writable
from expunge.api.inputs import device_of
from expunge.api.progress import bar
from expunge.api.reading import checked_method, located, parted, train_settings, trainable_model
from expunge.api.request.config import AnyConfig, RunConfig
from expunge.api.threads import computing
from expunge.batch import Predictor, Split
from expunge.errors import ConfigError
from expunge.kinds import kinds_checked
from expunge.metrics import LikelihoodRatio
from expunge.shadows import Store, Training
from expunge.tasks.classification.build import build_model

STATES = {"original": "before unlearning", "unlearned": "after unlearning", "retrained": "never trained on them"}


class Asked(NamedTuple):
    """A study, and what its models are told to do."""

    study: Study
    options: dict[str, Any]
    reference: bool


@kinds_checked
def ulira_request(
    config: AnyConfig,
    *,
    shadows: int = 32,
    cache: Path | None = None,
    jobs: int = 1,
    data_dir: Path | None = None,
    console: Console | None = None,
) -> Leakage:
    """Audit the method of a request with shadow models, and write the audit into the folder ``ulira`` of its run.

    The candidates are the examples that the request forgets: each shadow model is trained without a random half of them
    and unlearns the other half. The network, its training, the method and the held-out examples are the request's; with
    ``reference: retrain`` models that were never trained on a candidate are made too. The original's weights are not
    used.

    Args:
        config: The request, with a section ``train``.
        shadows: How many shadow models, an even number. Default 32.
        cache: Folder for models and answers. Default: ``ulira/cache`` in the run folder.
        jobs: Processes that unlearn side by side. Default 1.
        data_dir: Folder of the data. Default: the variable ``EXPUNGE_DATA``.
        console: Where progress and figures go. Default: nowhere.

    Raises:
        ConfigError: If the request is not one to a classifier, or has no section ``train``.
        ExpungeError: If something else does not fit; before the first step.
    """
    console = console or Console(quiet=True)
    if not isinstance(config, RunConfig):
        cure = "audit a classifier"
        raise ConfigError("the request of a classifier", f"task: {config.task}", cure, config.where("task"))
    folder = config.out / SHADOWS
    with located(config, "out"):
        check_writable(folder)
    with computing(config):
        asked = asked_of(config, shadows, cache or folder / CACHE, data_dir)
        with bar(console, "Shadow models", width=17) as shown:

            def done(what: str, ready: int, every: int) -> None:
                shown.bars.update(shown.task, description=f"{what:<17}", completed=ready, total=every)

            found = judged(asked.study, asked.options, asked.reference, jobs, done)
    if cache is not None:
        found = replace(found, about={**found.about, CACHE: str(cache.resolve())})
    found.save(folder)
    tell(found, console)
    console.print(f"Audit:   {folder}", soft_wrap=True)
    return found


def asked_of(config: RunConfig, shadows: int, cache: Path, data_dir: Path | None) -> Asked:
    """Return the study that a request describes, after everything that can be checked has been."""
    settings, method = train_settings(config), checked_method(config)
    with located(config, "device"):
        device = device_of(config.device)
    parts = parted(config, data_dir)
    source, holdout = parts.source, parts.holdout
    model = trainable_model(config, source)
    sizes = {"classes": len(source.class_names), "channels": source.shape[0]}
    make = partial(build_model, config.model.name, **{**sizes, **config.model.options})
    augment = getattr(source.train, "augment", None)
    training = Training(make, source.train, settings, augment, None, device, store=Store(cache))
    with located(config, "forget", config.forget.kind):
        study = Study(training, parts.positions.forget, source.test, holdout, shadows, config.seed)
    split = Split(*parts.sides, len(source.class_names), holdout)
    budget = agreed(config, None if config.method.automatic else method, Predictor(model), split)
    named = {"method": config.method.name, **config.method.settings} if config.method.automatic else {"method": method}
    time = {} if config.within is None else {"within": config.within}
    wish = {} if budget is None else budget.wish._asdict()
    return Asked(study, {**named, **time, **wish, **config.conditions()}, config.reference != "none")


def tell(found: Leakage, console: Console) -> None:
    """Print the figures of every state."""
    table = Table(title="What a likelihood-ratio attack on each example finds (50 % is guessing)", title_justify="left")
    for name in ("models", "told right", "95 %", "AUC", "TPR @ FPR", "retain", "test"):
        table.add_column(name, justify="left" if name == "models" else "right")
    for state in found.answers:
        figures, attack = found.figures(state), found.attack(state)
        accuracies = (figures[f"{part}_accuracy"]["mean"] for part in ("retain", "test"))
        told = ["–" if value is None else f"{value:.1f} %" for value in accuracies]
        table.add_row(STATES[state], *attack_cells(attack), *told)
    console.print(table)


def attack_cells(attack: LikelihoodRatio) -> list[str]:
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
